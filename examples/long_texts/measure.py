"""What longer texts are judged by beside the scores: repeated neighbours, length, and quality by length."""

from statistics import fmean

from bang_plugin.evaluation import evaluate
from bang_plugin.evaluation.tables import print_table

from ..workspace import Workspace, read_lines, write_text

BINS = (60, 80, 100)  # words of the reference from which on a text counts to the next group


def report(work: Workspace, runs) -> dict:
    """Print and write ``lengths.md``: of every run ROUGE-L by the reference's length, repetition and mean length.

    Returns:
        ``by_length``, a list of groups with ROUGE-L of each run; ``repetition``, percent of words that equal the word
        before; ``words``, the mean number written.
    """
    expected = read_lines(work.raw / "test.tgt")
    texts = {run.mode: _texts(work, run.mode) for run in runs}
    lengths = [len(text.split()) for text in expected]
    groups: list[dict] = []
    for low, high in zip(BINS, [*BINS[1:], max(lengths) + 1]):
        chosen = [i for i, length in enumerate(lengths) if low <= length < high]
        if chosen:
            wanted = [expected[i] for i in chosen]
            scores = {mode: rouge_l([lines[i] for i in chosen], wanted) for mode, lines in texts.items()}
            groups.append({"words": f"{low}–{high - 1}", "sentences": len(chosen), "runs": scores})
    found = {
        "by_length": groups,
        "repetition": {mode: repetition(lines) for mode, lines in texts.items()},
        "words": {mode: fmean(len(line.split()) for line in lines) for mode, lines in texts.items()},
    }
    write_text(work.folder / "lengths.md", print_table(rows(found)))
    return found


def rows(found: dict) -> list[dict]:
    """A row of the table for each run, from what `report` returns."""
    return [
        {
            "run": mode,
            **{f"ROUGE-L, {group['words']} words": group["runs"][mode] for group in found["by_length"]},
            "repeated neighbours (%)": share,
            "words": found["words"][mode],
        }
        for mode, share in found["repetition"].items()
    ]


def _texts(work: Workspace, mode: str) -> list[str]:
    run, decoding = mode.split(", ")
    return read_lines(work.outputs / run / f"{decoding}.txt")


def rouge_l(hypotheses: list[str], references: list[str]) -> float:
    return evaluate(hypotheses, [[text] for text in references], ["rouge"])["rouge_l"].value


def repetition(lines: list[str]) -> float:
    """Percent of the words written that equal the word before them."""
    words = [line.split() for line in lines]
    repeated = sum(a == b for text in words for a, b in zip(text, text[1:]))
    return 100 * repeated / max(1, sum(map(len, words)))
