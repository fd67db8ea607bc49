"""Answer-aware question generation on SQuAD 1.1, in the split of Du et al. (2017)."""

from pathlib import Path

from nltk.tokenize import TreebankWordTokenizer

from bang_plugin.evaluation import Options

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes
from ..workspace import read_lines, write_lines


def pairs(record: dict):
    """The question from its answer and the passage that holds it."""
    yield f"{record['answer']} [SEP] {record['paragraph']}", record["question"]


HUB = hub.source("lmqg/qg_squad", pairs, {"train": "train", "dev": "validation", "test": "test"})


def source(folder: Path, most: int | None) -> None:
    """The hub's data, with the references of the test set split into tokens as GLGE's are.

    The scoring script mends outputs to fit such references and leaves the references alone; the hub's are plain text.
    """
    HUB(folder, most)
    write_lines(folder / "test.refs", map(treebank, read_lines(folder / "test.tgt")))


def treebank(text: str) -> str:
    """Lower-case tokens as the Penn Treebank has them: `does n't`, two backquotes and `''`, `-lrb-`."""
    return " ".join(TreebankWordTokenizer().tokenize(text, convert_parentheses=True)).lower()


RECIPE = Recipe(
    name="question_generation",
    title="Question generation on SQuAD 1.1 (source: answer [SEP] passage).",
    source=source,
    training=FINE_TUNING,
    modes=fine_tuning_modes(ar_updates=5000),
    decodings=decodings(longest=64),
    metrics={"rouge-coco": ("rouge_coco_l",), "bleu": ("bleu_4",), "meteor": ("meteor15",)},
    judging=Options(tokenize="none", lowercase=True, mend="squad"),
    references_as_written=True,
    pooled=True,
    processes=8,
)
