"""Translation: NAR against AR, with and without a teacher."""

from collections.abc import Iterator
from pathlib import Path

from .. import hub
from ..descriptions import read, sources
from ..recipe import SOURCE_PIECES, TWO_CORES, Recipe, two_core_decodings, two_core_modes

LONGEST = 60  # words of a paragraph


def pairs(record: dict):
    """English to German."""
    yield record["en"], record["de"]


def rows(lists: Path) -> Iterator[tuple[str, hub.Pair]]:
    """Source package, and synopsis, paragraphs and items of lists in English and German.

    Long paragraphs are left out. Where the two languages differ in the number of paragraphs and items, only the
    synopsis is taken.
    """
    german = {description.key: description for description in read(lists, "de")}
    for english in read(lists):
        translated = german.get(english.key)
        if translated:
            yield english.source, (english.synopsis, translated.synopsis)
            if len(english.blocks) == len(translated.blocks):
                for pair in zip(english.blocks, translated.blocks):
                    if max(len(text.split()) for text in pair) <= LONGEST:
                        yield english.source, pair


SOURCE, RAW = sources(("en", "de"), rows)
MULTI30K = hub.source("bentrevett/multi30k", pairs, {"train": "train", "dev": "validation", "test": "test"})

RECIPE = Recipe(
    name="translation",
    title="English to German: Debian's package descriptions, Multi30k, or any parallel text of yours (--data).",
    source=SOURCE,
    raw=RAW,
    corpora={"multi30k": MULTI30K},
    training={**TWO_CORES, "--max-target-positions": 160},  # German takes more pieces
    modes=two_core_modes(updates=6000),
    # so small a model repeats itself so much that dropping it leaves too few words: docs/decoding.md
    decodings=two_core_decodings(longest=128, collapse=False),
    metrics={"bleu": ("bleu_4",), "chrf": ("chrf",)},
    references_as_written=True,
    pieces=4000,  # what is written, and so the layer over the vocabulary, is most of the work
    source_pieces=SOURCE_PIECES,
)
