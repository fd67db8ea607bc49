"""A parallel text that needs no download: numbers in English and German words.

    python -m examples.translation.numbers FOLDER

writes ``{train,dev,test}.{src,tgt}`` and ``test.refs``. Words change their order (twenty-one: einundzwanzig), and
German has several ways to write most numbers (hundertzwei, einhundertzwei, einhundertundzwei), of which the training
text holds one at random: a target with many truths, which is what NAR models find hard. ``test.refs`` has them all.
"""

import random
import sys
from pathlib import Path

from ..workspace import write_lines

ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
GERMAN = (
    "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
    "achtzehn neunzehn"
).split()
GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
SIZES = {"train": 40000, "dev": 1000, "test": 1000}


def english(number: int) -> str:
    """A number below a million in words."""
    if number < 20:
        return ENGLISH[number]
    if number < 100:
        ones = f"-{ENGLISH[number % 10]}" if number % 10 else ""
        return ENGLISH_TENS[number // 10 - 2] + ones
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % size
    glue = " and " if 0 < rest < 100 else " "
    return f"{english(number // size)} {name}" + (glue + english(rest) if rest else "")


def german(number: int) -> list[str]:
    """All ways to write a number below a million in German words, the most usual first."""
    if number == 1:
        return ["eins"]
    return _german(number)


def _german(number: int) -> list[str]:
    if number < 20:
        return [GERMAN[number]]
    if number < 100:
        tens = GERMAN_TENS[number // 10 - 2]
        return [f"{GERMAN[number % 10]}und{tens}" if number % 10 else tens]
    size, name = (1000, "tausend") if number >= 1000 else (100, "hundert")
    count, rest = divmod(number, size)
    heads = [f"{n}{name}" for n in _german(count)] + ([name] if count == 1 else [])
    if not rest:
        return heads
    tails = german(rest)
    if rest < 100:
        tails = tails + [f"und{tail}" for tail in tails]
    return [head + tail for head in heads for tail in tails]


def write(folder: Path, most: int | None = None) -> None:
    """Write the parallel text; every number occurs once, in one part."""
    draw = random.Random(1)
    numbers = iter(draw.sample(range(1_000_000), sum(SIZES.values())))
    for part, size in SIZES.items():
        chosen = [next(numbers) for _ in range(size)][:most]
        write_lines(folder / f"{part}.src", map(english, chosen))
        write_lines(folder / f"{part}.tgt", (draw.choice(german(number)) for number in chosen))
        if part == "test":
            write_lines(folder / "test.refs", ("\t".join(german(number)) for number in chosen))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.translation.numbers FOLDER")
    write(Path(sys.argv[1]))
