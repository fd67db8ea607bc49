"""Translation: NAR against AR, with and without a teacher."""

from .. import hub
from ..recipe import FINE_TUNING, Recipe, decodings, fine_tuning_modes


def pairs(record: dict):
    """English to German."""
    yield record["en"], record["de"]


RECIPE = Recipe(
    name="translation",
    title="English to German (Multi30k), or any parallel text of yours (--data).",
    source=hub.source("bentrevett/multi30k", pairs, {"train": "train", "dev": "validation", "test": "test"}),
    # trained from nothing, on one GPU: smaller, with more warm-up and learning rate than fine-tuning
    training={
        **FINE_TUNING,
        "--arch": "bang_small",
        "--lr": 5e-4,
        "--adam-betas": "(0.9, 0.98)",
        "--warmup-updates": 2000,
        "--clip-norm": 1.0,
        "--max-tokens": 8192,
        "--max-source-positions": 256,
        "--max-target-positions": 256,
    },
    modes=fine_tuning_modes(ar_updates=2400, ar_epochs=40, nar_epochs=80),
    decodings=decodings(longest=100),
    metrics={"bleu": ("bleu_4",), "exact": ("exact_match",)},
    pieces=8000,
)
