"""Abstractive summarization: one sentence per BBC article (XSum)."""

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes


def pairs(record: dict):
    """The summary from its article."""
    yield record["document"], record["summary"]


RECIPE = Recipe(
    name="summarization",
    title="Summarization of BBC articles in one sentence (XSum).",
    source=hub.source("EdinburghNLP/xsum", pairs, {"train": "train", "dev": "validation", "test": "test"}),
    training=FINE_TUNING,
    modes=fine_tuning_modes(ar_updates=33000),
    decodings=decodings(longest=96),
    metrics={"rouge-155": ("rouge155_1", "rouge155_2", "rouge155_l")},
    references_as_written=True,
    processes=8,
)
