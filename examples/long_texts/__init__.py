"""Longer texts: a package's description, 60 words and more, from its synopsis and the description's first sentence."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..descriptions import read, sources
from ..hub import Pair
from ..recipe import SOURCE_PIECES, TWO_CORES, Recipe, two_core_decodings, two_core_modes
from .measure import report

WORDS = (60, 120)  # fewest and most of a target
LONGEST = 240  # pieces of a target
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def rows(lists: Path) -> Iterator[tuple[str, Pair]]:
    """Source package, and the rest of the description from the synopsis and the first sentence."""
    for description in read(lists):
        first, *rest = SENTENCE.split(" ".join(description.blocks), maxsplit=1)
        if rest and WORDS[0] <= len(rest[0].split()) <= WORDS[1]:
            yield description.source, (f"{description.synopsis}: {first}", rest[0])


SOURCE, RAW = sources(("en",), rows)


RECIPE = Recipe(
    name="long_texts",
    title="A package's description, 60 words and more, from its synopsis and first sentence.",
    source=SOURCE,
    raw=RAW,
    training={**TWO_CORES, "--max-target-positions": LONGEST},
    modes=two_core_modes(updates=6000),
    decodings=two_core_decodings(longest=LONGEST, collapse=False),  # what repeats is measured here
    metrics={
        "rouge": ("rouge_1", "rouge_2", "rouge_l"),
        "bleu": ("bleu_4",),
        "distinct": ("distinct_1", "distinct_2"),
    },
    references_as_written=True,
    pieces=8000,
    source_pieces=SOURCE_PIECES,
    report=report,
)
