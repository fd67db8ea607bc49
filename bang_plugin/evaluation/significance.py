"""How far a score would move with other test sentences: bootstrap intervals and the paired test."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from ..errors import BangError
from .base import Number


@dataclass(frozen=True)
class Bootstrap:
    """Test sets drawn with replacement from the test sentences; the same ones for every number and system.

    Raises:
        BangError: if there is not one sample or the seed is negative.
    """

    samples: int = 1000
    seed: int = 12345

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seed < 0:
            raise BangError(f"cannot draw {self.samples} bootstrap samples with seed {self.seed}")

    def draws(self, sentences: int) -> Iterator[np.ndarray]:
        """How often each sentence is in each test set, ``(sentences,)``."""
        random = np.random.default_rng(self.seed)
        for _ in range(self.samples):
            yield np.bincount(random.integers(sentences, size=sentences), minlength=sentences)

    def values(self, number: Number) -> np.ndarray:
        """The number on each test set, in percent, ``(samples,)``."""
        draws = tqdm(
            self.draws(len(number.rows)),
            desc=f"bootstrap of {number.signature.metric}",
            total=self.samples,
            leave=False,
            disable=None,
        )
        return np.array([number.value(draw @ number.rows) for draw in draws])

    def interval(self, number: Number) -> tuple[float, float] | None:
        """The middle 95 % of the values, or None for numbers that cannot be resampled."""
        if not number.resampled:
            return None
        low, high = np.percentile(self.values(number), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline.

    Attributes:
        baseline: the baseline's score, percent.
        difference: the system's score minus the baseline's, percentage points.
        p: chance of a difference as large if both were equally good; None where there is no test.
        corrected: the same for the number of comparisons made together, see `correct`; None before.
    """

    baseline: float
    difference: float
    p: float | None
    corrected: float | None = None


def paired_test(system: Number, baseline: Number, bootstrap: Bootstrap) -> Comparison:
    """Paired bootstrap test of two systems on the same sentences (Koehn, 2004; two-sided).

    The differences on drawn test sets, shifted to mean zero, are what chance alone gives; ``p`` is the share of
    them that is at least as far from zero as the difference observed, which counts as one of them. sacrebleu's
    randomisation test agrees with it; its bootstrap test counts one tail only and gives less than half.
    """
    difference = system.total() - baseline.total()
    if not system.resampled:
        return Comparison(baseline.total(), difference, None)
    differences = bootstrap.values(system) - bootstrap.values(baseline)
    as_large = np.sum(np.abs(differences - differences.mean()) >= abs(difference))
    return Comparison(baseline.total(), difference, (int(as_large) + 1) / (bootstrap.samples + 1))


def correct(comparisons: dict[str, Comparison]) -> dict[str, Comparison]:
    """Comparisons with their p values corrected for their number (Holm, 1979).

    The smallest of n values is multiplied by n, the next by n - 1 and so on, and none becomes less than one before it
    or more than 1. So the chance that any of them is below 0.05, where all systems are equally good, is at most 0.05.
    """
    tested = sorted((test.p, name) for name, test in comparisons.items() if test.p is not None)
    corrected: dict[str, float] = {}
    least = 0.0
    for left, (p, name) in zip(range(len(tested), 0, -1), tested):
        corrected[name] = least = max(least, min(1.0, left * p))
    return {name: replace(test, corrected=corrected.get(name)) for name, test in comparisons.items()}
