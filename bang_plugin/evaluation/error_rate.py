"""Error rates and exact match over tokens that blanks separate."""

import nltk
import numpy as np
from nltk.metrics.distance import edit_distance

from ..errors import BangError
from .base import Number, Options, Signature, mean, progress, ratio


def phoneme_error_rate(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Token edits over reference tokens, both summed over the corpus; of several references the nearest counts.

    It is the phoneme error rate where tokens are phonemes, and speech recognition's word error rate where
    they are words.

    Raises:
        BangError: if a text is longer than nltk compares.
    """
    pairs = progress(hypotheses, references, "edits")
    rows = [nearest(text.split(), [other.split() for other in alternatives]) for text, alternatives in pairs]
    how = {"nltk": nltk.__version__, "tok": "split", "case": options.case, "agg": "corpus"}
    return [Number(Signature("phoneme_error_rate", **how), np.array(rows, dtype=float), ratio)]


def nearest(tokens: list[str], references: list[list[str]]) -> tuple[int, int]:
    """Edits and length of the reference with the fewest edits per token."""
    try:
        pairs = [(edit_distance(tokens, reference), len(reference)) for reference in references]
    except ValueError as error:
        raise BangError(f"a hypothesis of {len(tokens)} tokens or its reference is too long") from error
    return min(pairs, key=lambda pair: pair[0] / max(1, pair[1]))


def word_error_rate(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Share of sentences that equal none of their references: the word error rate where a line spells one word."""
    values = [not hit for hit in hits(hypotheses, references)]
    return [mean(Signature("word_error_rate", tok="split", case=options.case, unit="line"), values)]


def exact_match(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Share of sentences that equal one of their references, apart from the width of blanks."""
    return [mean(Signature("exact_match", tok="split", case=options.case), hits(hypotheses, references))]


def hits(hypotheses: list[str], references: list[list[str]]) -> list[bool]:
    """Whether each text equals one of its references, apart from the width of blanks."""
    return [
        text.split() in [other.split() for other in alternatives] for text, alternatives in zip(hypotheses, references)
    ]
