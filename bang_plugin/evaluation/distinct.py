"""Diversity: how many of the n-grams written are different ones (Li et al., 2016)."""

import numpy as np

from .base import Number, Options, Signature, ratio


def distinct(hypotheses: list[str], references: list[list[str]], options: Options) -> list[Number]:
    """Distinct-1 to -4: different n-grams over all n-grams of the whole output; references play no part.

    A resampled corpus repeats sentences and a repeated sentence adds no new n-gram, so that a bootstrap would
    not even contain the value: these numbers have no interval and no significance test.
    """
    numbers = []
    for n in range(1, 5):
        written = [ngram for text in hypotheses for ngram in ngrams(text.split(), n)]
        signature = Signature(f"distinct_{n}", tok="split", case=options.case, agg="corpus")
        numbers.append(Number(signature, np.array([[len(set(written)), len(written)]]), ratio, resampled=False))
    return numbers


def ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    """All runs of ``n`` tokens."""
    return list(zip(*(tokens[i:] for i in range(n))))
