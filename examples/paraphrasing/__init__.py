"""Paraphrasing: a question that asks the same (Quora question pairs, in MIST's and PreDAT's split)."""

from bang_plugin.evaluation import Options

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes

RECIPE = Recipe(
    name="paraphrasing",
    title="A question that asks the same as another (Quora question pairs).",
    source=hub.own_copy("Quora's question pairs in the published split", "Quora's, on its terms of service"),
    training=FINE_TUNING,
    modes=fine_tuning_modes(ar_updates=1000),
    decodings=decodings(longest=64),
    metrics={"bleu": ("bleu_1", "bleu_4"), "meteor": ("meteor15",)},
    judging=Options(tokenize="none", lowercase=True, mend="quora"),
    references_as_written=True,
    pooled=True,
    processes=8,
)
