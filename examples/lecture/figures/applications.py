"""Figures 8, 12 and 13: samples of every task, F1 by class, and a longer text with what is wrong in each decoding."""

import textwrap
import unicodedata

from ..forms import decoding_names, part, task_names
from ..registry import figure
from ..svg import FAINT, REJECTED, Drawing, width_of

EXAMPLES = ("translation", "package_summaries", "question_answering")
THREE = ("ar-greedy", "semi_nar-4", "nar")
LINES = 3  # of a text in the figure at most


def written(sample: dict, decoding: str) -> str | None:
    """What the one checkpoint wrote in a decoding; None where it did not."""
    for mode in ("all", "all-distil"):
        if f"{mode}, {decoding}" in sample["outputs"]:
            return sample["outputs"][f"{mode}, {decoding}"]
    return None


def wrapped(text: str, letters: int) -> list[str]:
    wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    lines = textwrap.wrap(text, letters // 2 if wide else letters) or [""]
    return lines if len(lines) <= LINES else [*lines[: LINES - 1], lines[LINES - 1][: letters - 2] + " …"]


@figure(8, *EXAMPLES)
def samples(found, say) -> str:
    names, tasks = decoding_names(say), task_names(say)
    drawing = Drawing(1240, 0, say("What applications write", "应用的输出"))
    y = 10.0
    for task in EXAMPLES:
        sample = part(found[task], task, "samples")[0]
        rows = [(say("input", "输入"), sample["source"]), (say("reference", "参考"), sample["references"][0])]
        rows += [(names[name], text) for name in THREE if (text := written(sample, name)) is not None]
        y += 18
        drawing.text(10, y, tasks[task], 15, bold=True)
        for label, text in rows:
            for number, line in enumerate(wrapped(text, 128)):
                y += 19
                if not number:
                    drawing.text(24, y, label, 13, fill=FAINT)
                drawing.text(180, y, line, 13)
        y += 12
    drawing.size = (1240, y + 14)
    return str(drawing)


@figure(12, "classification")
def classes(found, say):
    import matplotlib.pyplot as plt

    report = part(found["classification"], "classification", "report")
    kinds = {
        say("head", "分类头"): report["f1"]["head, head"],
        say("label as text, NAR", "标签作文本，NAR"): report["f1"]["text, nar"],
        say("linear, TF-IDF", "线性，TF-IDF"): report["linear"]["f1"],
    }
    labels = list(report["linear"]["f1"])
    drawn, axes = plt.subplots(figsize=(11, 4.6))
    for number, (name, values) in enumerate(kinds.items()):
        places = [place + 0.27 * (number - 1) for place in range(len(labels))]
        axes.bar(places, [values[label] for label in labels], 0.25, label=name)
    axes.set_xticks(range(len(labels)), labels)
    axes.set(ylabel=say("F1 (%)", "F1 (%)"), ylim=(0, 100))
    axes.legend(ncols=3, loc="lower right")
    return drawn


def marked(drawing: Drawing, x: float, y: float, text: str, known: set[str], width: float) -> float:
    """A text of which repeated words are boxed and those that the reference lacks are red; returns the place below."""
    size, start, before = 12, x, ""
    for word in text.split():
        wide = width_of(word + " ", size)
        if x + wide > start + width:
            x, y = start, y + 17
        if word == before:
            drawing.rect(x - 2, y - 12, wide, 16, REJECTED, "#a33")
        drawing.text(x, y, word, size, fill="#1b1b1b" if word.lower().strip(".,;:()") in known else "#b3261e")
        x, before = x + wide, word
    return y + 26


@figure(13, "long_texts")
def long_text(found, say) -> str:
    sample, names = part(found["long_texts"], "long_texts", "samples")[0], decoding_names(say)
    drawing = Drawing(1240, 0, say("A longer text", "一段较长文本"))
    known = {word.lower().strip(".,;:()") for word in sample["references"][0].split()}
    y = 24.0
    rows = [(say("reference", "参考"), sample["references"][0])]
    rows += [(names[name], text) for name in names if (text := written(sample, name)) is not None]
    for label, text in rows:
        drawing.text(10, y, label, 13, bold=True)
        y = marked(drawing, 180, y, text, known, 1040)
    drawing.rect(10, y - 4, 18, 14, REJECTED, "#a33")
    drawing.text(34, y + 8, say("repeats the word before", "与前词重复"), 13)
    drawing.text(300, y + 8, say("not in the reference", "参考中没有"), 13, fill="#b3261e")
    drawing.size = (1240, y + 24)
    return str(drawing)
