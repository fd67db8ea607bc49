"""Short answers compared as SQuAD's evaluation script does (Rajpurkar et al., 2016): exact match and F1 of words."""

import re
import string
from collections import Counter

from .base import Number, Options, Signature, mean

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> list[str]:
    """Words in lower case, without punctuation and without articles."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def em(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Share of answers that equal one of their references once both are normalised."""
    values = [
        normalised(text) in [normalised(other) for other in alternatives]
        for text, alternatives in zip(hypotheses, references)
    ]
    return [mean(Signature("em", tok="squad", case="lc"), values)]


def f1(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Mean over answers of the F1 of their words, that of the best reference each."""
    values = [
        max(overlap(normalised(text), normalised(other)) for other in alternatives)
        for text, alternatives in zip(hypotheses, references)
    ]
    return [mean(Signature("f1", tok="squad", case="lc"), values)]


def overlap(words: list[str], others: list[str]) -> float:
    """F1 of two bags of words; of empty ones 1 if both are."""
    if not words or not others:
        return float(words == others)
    common = sum((Counter(words) & Counter(others)).values())
    return 2 * common / (len(words) + len(others))
