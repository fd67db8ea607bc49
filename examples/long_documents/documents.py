"""Generated documents with one fact hidden at any depth: long sources whose answer truncation cuts away."""

import random
from pathlib import Path

from ..workspace import write_lines

LENGTH = 4096
COLOURS = "red blue green black white yellow purple orange".split()
ANIMALS = "fox owl bear wolf hare crow seal toad".split()
NUMBERS = "one two three four five six seven eight".split()
SIZES = {"train": 4000, "dev": 100, "test": 400}


def filler(vocabulary: int = 500) -> list[str]:
    """Made-up words of two syllables."""
    draw = random.Random(0)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return sorted({draw.choice(syllables) + draw.choice(syllables) for _ in range(vocabulary)})


def document(draw: random.Random, words: list[str], length: int, depth: float) -> tuple[str, str]:
    """A document of ``length`` words and the three that were hidden at ``depth`` (0 beginning, 1 end) in it."""
    secret = [draw.choice(kind) for kind in (COLOURS, ANIMALS, NUMBERS)]
    text = draw.choices(words, k=length - len(secret))
    place = round(depth * len(text))
    return " ".join(text[:place] + secret + text[place:]), " ".join(secret)


def write(folder: Path, most: int | None, length: int = LENGTH) -> None:
    """Write the three parts; the end symbol makes a source ``length`` tokens long.

    Training documents are of all lengths, drawn so that each power of two is as likely; those of ``dev`` and ``test``
    have the full length, and depths spread evenly.
    """
    words, draw = filler(), random.Random(1)
    for part, size in SIZES.items():
        size = min(size, most or size)
        pairs = []
        for k in range(size):
            longest = round(length * 2 ** -draw.uniform(0, 6)) if part == "train" else length
            depth = draw.random() if part == "train" else (k + 0.5) / size
            pairs.append(document(draw, words, max(longest, 8) - 1, depth))
        write_lines(folder / f"{part}.src", (source for source, _ in pairs))
        write_lines(folder / f"{part}.tgt", (target for _, target in pairs))


def depths(sources: list[str]) -> list[int]:
    """Number of the token at which each document's fact begins."""
    colours = set(COLOURS)
    return [next(i for i, word in enumerate(source.split()) if word in colours) for source in sources]
