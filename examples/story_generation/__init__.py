"""Story generation: four sentences after the first (ROCStories, in PreDAT's split)."""

from bang_plugin.evaluation import Options

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes

RECIPE = Recipe(
    name="story_generation",
    title="The rest of a story of five sentences, from the first (ROCStories).",
    source=hub.own_copy("ROCStories", "its authors give it to those who ask them, for research"),
    training=FINE_TUNING,
    modes=fine_tuning_modes(ar_updates=2000),
    decodings=decodings(longest=128),
    metrics={"bleu": ("bleu_1", "bleu_2"), "distinct": ("distinct_4",)},
    judging=Options(tokenize="none", mend="squad"),
    references_as_written=True,
    processes=8,
)
