"""Abstractive summarization: the one-line synopsis of a Debian package from its long description."""

from collections.abc import Iterator
from pathlib import Path

from ..descriptions import read, sources
from ..hub import Pair
from ..lead import LEAD
from ..recipe import Recipe, short_outputs, two_core_decodings, two_core_modes

LONGEST = 48  # pieces of a synopsis
# of a description, which is all of every other one: reading more of them takes time that this little training lacks
DESCRIPTION = 63


def rows(lists: Path) -> Iterator[tuple[str, Pair]]:
    """Source package, and the synopsis from the long description, its paragraphs and lists joined by blanks."""
    for description in read(lists):
        yield description.source, (" ".join(description.blocks), description.synopsis)


SOURCE, RAW = sources(("en",), rows)

RECIPE = Recipe(
    name="package_summaries",
    title="The one-line synopsis of a Debian package from its long description.",
    source=SOURCE,
    raw=RAW,
    training=short_outputs(DESCRIPTION, LONGEST),
    modes={"lead": LEAD, **two_core_modes(updates=6000)},
    decodings=two_core_decodings(longest=LONGEST),
    metrics={"rouge-155": ("rouge155_1", "rouge155_2", "rouge155_l")},
    references_as_written=True,
    pieces=8000,
    source_pieces=DESCRIPTION,
)
