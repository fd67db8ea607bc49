"""Figures 6 and 7: losses, learning rates, gradient norms and clipping as logged, and a sample of pretraining."""

import torch
from fairseq.data import Dictionary

from bang_plugin.data.span_masking import SpanMasking, SpanMaskingDataset

from ...training_strategies import RECIPE
from ..records import ROOT
from ..registry import figure
from ..svg import CHAIN, KEPT, PLAIN

MASKING = "bang_plugin/data/span_masking.py"
TOKENS, LONGEST = 48, 9  # words of the text that is masked, and letters of the longest of them
ACROSS = 8  # words in a line of the figure


class Words:
    """The first words of the README as a data set of one block."""

    def __init__(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        words = [word for word in text.split() if word.isalpha() and len(word) <= LONGEST]
        self.words = list(dict.fromkeys(words))[:TOKENS]
        self.dictionary = Dictionary()
        for word in self.words:
            self.dictionary.add_symbol(word)
        self.mask = self.dictionary.add_symbol("[MASK]")
        self.sizes = [len(self.words)]

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([self.dictionary.index(word) for word in self.words])


def sample() -> tuple[list[str], list[str], list[int]]:
    """A sample as pretraining draws it: the encoder's view, the decoder's targets and their places."""
    words = Words()
    masking = SpanMasking(
        mask=words.mask, vocab_size=len(words.dictionary) - 1, first_random=words.dictionary.nspecial, block=TOKENS // 2
    )
    drawn = SpanMaskingDataset(words, masking, pad=words.dictionary.pad(), seed=1)[0]

    def shown(tokens) -> list[str]:
        return [words.dictionary[int(token)] for token in tokens]

    places = (drawn["positions"] - words.dictionary.pad()).tolist()
    return shown(drawn["source"]), shown(drawn["target"]), places


@figure(6, "logs", code=(MASKING,))
def losses(found, say):
    import matplotlib.pyplot as plt

    run = found["logs"]["runs"]["ar_first"]
    drawn, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=(1, 1.2))
    names = {
        "ar_nll": "AR",
        "stream4_nll": say("stream 4", "第 4 流"),
        "all_nll": say("all streams", "全部流"),
        "nar_nll": "NAR",
    }
    for key, name in names.items():
        rows = [row for row in run["log"] if key in row]
        if rows:
            left.plot([row["num_updates"] for row in rows], [row[key] for row in rows], label=name)
    left.set(
        xlabel=say("update", "更新步"),
        ylabel=say("bits per token", "每词比特"),
        title=say("training: AR first, then everything", "训练：先 AR，再全部"),
    )
    left.legend()
    source, target, places = sample()
    right.set_axis_off()
    right.set(xlim=(0, ACROSS), ylim=(-13.5, 1))
    right.set_title(
        say("a pretraining sample: encoder input, then the decoder's chain", "一个预训练样本：编码器输入与解码器的链")
    )
    for place, seen in enumerate(source):
        fill = CHAIN if place in places else PLAIN
        tile(right, place % ACROSS, -1.2 * (place // ACROSS), seen, fill)
    low = -1.2 * (len(source) // ACROSS) - 0.8
    right.text(0, low, say("targets, in chains:", "目标，成链："), fontsize=9)
    for number, (word, place) in enumerate(zip(target, places)):
        tile(right, number % ACROSS, low - 1.2 - 2 * (number // ACROSS), word, KEPT)
        right.text(number % ACROSS + 0.45, low - 2.0 - 2 * (number // ACROSS), str(place), fontsize=7, ha="center")
    return drawn


def tile(axes, x: float, y: float, text: str, fill: str) -> None:
    """A word on its place in the sample."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": fill, "edgecolor": "#999999", "linewidth": 0.5}
    axes.text(x + 0.45, y, text, fontsize=8.5, ha="center", va="center", bbox=box)


@figure(7, "logs", code=("examples/training_strategies/__init__.py",))
def optimisation(found, say):
    import matplotlib.pyplot as plt

    runs = {name: run for name, run in found["logs"]["runs"].items() if name != "ar_first"}
    names = {
        "joint": say("linear decay, clip 1", "线性衰减，裁剪 1"),
        "inverse_sqrt": say("inverse square root", "平方根倒数"),
        "cosine": say("cosine", "余弦"),
        "constant": say("constant", "常数"),
        "no_clipping": say("no clipping", "不裁剪"),
        "clip_0.1": say("clip 0.1", "裁剪 0.1"),
    }
    drawn, grid = plt.subplots(1, 3, figsize=(12, 4.2))
    columns = [
        ("lr", ("joint", "inverse_sqrt", "cosine", "constant"), say("learning rate", "学习率")),
        ("gnorm", ("joint", "no_clipping", "clip_0.1"), say("gradient norm before clipping", "裁剪前梯度范数")),
        ("kept", ("joint", "clip_0.1"), say("share of the gradient that is kept (%)", "保留的梯度比例 (%)")),
    ]
    for axes, (key, chosen, title) in zip(grid, columns):
        for name in chosen:
            limit = float({**RECIPE.training, **RECIPE.modes[name].options}["--clip-norm"])
            log = [{**row, "kept": 100 * min(1, limit / row["gnorm"])} for row in runs[name]["log"]]
            axes.plot([row["num_updates"] for row in log], [row[key] for row in log], label=names[name])
        axes.set(xlabel=say("update", "更新步"), title=title)
        axes.legend(fontsize=8)
    return drawn
