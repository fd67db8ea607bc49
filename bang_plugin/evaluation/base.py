"""What every metric gives: numbers, each with the rows it is summed from and how it was computed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm


class Signature:
    """How a number was computed, as one line like sacrebleu's: ``bleu_4|sacrebleu:2.6.0|tok:13a|…``."""

    def __init__(self, metric: str, **settings: object):
        self.metric = metric
        self.settings = settings

    def extended(self, **settings: object) -> "Signature":
        """The same with more settings."""
        return Signature(self.metric, **{**self.settings, **settings})

    def __str__(self) -> str:
        return "|".join([self.metric, *(f"{name}:{value}" for name, value in self.settings.items())])


@dataclass(frozen=True)
class Options:
    """How texts are compared.

    Attributes:
        tokenize: sacrebleu's tokenizer for corpus BLEU; the other metrics split as their signatures say.
        lowercase: compare lowercased texts.
        mend: whose tokenisation outputs are brought near to before they count, see `mending.MENDING`; references stay.
        meteor_jar: compute METEOR by this jar (version 1.5) instead of nltk.
    """

    tokenize: str = "13a"
    lowercase: bool = False
    mend: str | None = None
    meteor_jar: Path | None = None

    @property
    def case(self) -> str:
        """``lc`` or ``mixed``, as signatures have it."""
        return "lc" if self.lowercase else "mixed"


@dataclass(frozen=True)
class Number:
    """A score before it is summed, so that sentences can be drawn anew.

    Attributes:
        signature: its ``metric`` is the number's name.
        rows: what each sentence contributes, ``(sentences, counts)``.
        value: percent from the sum of the rows, ``(counts,)``.
        resampled: whether sums over drawn sentences mean anything; if not, ``rows`` holds the sum alone.
    """

    signature: Signature
    rows: np.ndarray
    value: Callable[[np.ndarray], float]
    resampled: bool = True

    def total(self) -> float:
        """The score of all sentences, in percent."""
        return float(self.value(self.rows.sum(axis=0)))


@dataclass(frozen=True)
class Score:
    """A score in percent, the line that says how it was computed and, if asked for, its 95 % interval."""

    value: float
    signature: str
    interval: tuple[float, float] | None = None


def ratio(total: np.ndarray) -> float:
    """Percent of the first count in the second."""
    return float(100 * total[0] / total[1]) if total[1] else 0.0


def mean(signature: Signature, values: Iterable[float]) -> Number:
    """The mean of one value in [0, 1] per sentence."""
    each = np.asarray(list(values), dtype=float)
    return Number(signature, np.stack([each, np.ones_like(each)], axis=1), ratio)


def progress(hypotheses: list[str], references: list[list[str]], metric: str) -> Iterable[tuple[str, list[str]]]:
    """Hypotheses with their references, under a progress bar that leaves no trace and no line in a log."""
    pairs = zip(hypotheses, references)
    return tqdm(pairs, desc=metric, total=len(hypotheses), unit="sentence", leave=False, disable=None)
