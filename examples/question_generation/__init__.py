"""Answer-aware question generation on SQuAD 1.1, in the split of Du et al. (2017)."""

from bang_plugin.evaluation import Options

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes


def pairs(record: dict):
    """The question from its answer and the passage that holds it."""
    yield f"{record['answer']} [SEP] {record['paragraph']}", record["question"]


RECIPE = Recipe(
    name="question_generation",
    title="Question generation on SQuAD 1.1 (source: answer [SEP] passage).",
    source=hub.source("lmqg/qg_squad", pairs, {"train": "train", "dev": "validation", "test": "test"}),
    training=FINE_TUNING,
    modes=fine_tuning_modes(),
    decodings=decodings(longest=64),
    metrics={"rouge-coco": ("rouge_coco_l",), "bleu": ("bleu_4",), "meteor": ("meteor15",)},
    judging=Options(tokenize="none", lowercase=True),
    pooled=True,
    processes=8,
)
