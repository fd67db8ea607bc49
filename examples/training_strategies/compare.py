"""Every strategy against the base line, with the paired test that says what may be chance."""

from bang_plugin.evaluation import Number, Options, count
from bang_plugin.evaluation.significance import Bootstrap, paired_test

from ..score import references
from ..workspace import Workspace, read_lines

BASELINE = "joint"
DECODINGS = ("ar", "nar")


def error_rates(work: Workspace, strategies: list[str]) -> dict[tuple[str, str], Number]:
    """Word error rates by strategy and decoding, ready to be resampled."""
    expected = references(work)
    paths = {(name, decoding): work.outputs / name / f"{decoding}.txt" for name in strategies for decoding in DECODINGS}
    return {
        key: count(read_lines(path), expected, ["wer"], Options())["word_error_rate"]
        for key, path in paths.items()
        if path.exists()
    }


def table(work: Workspace, strategies: list[str]) -> list[dict]:
    """A row per strategy: word error rates (percent), what they differ from the base line's (percentage points), and
    the chance of a difference as large if both were equally good.

    It tells noise of the test words only. How far runs differ by their seed, ``seed_2`` has to tell.
    """
    numbers = error_rates(work, strategies)
    rows = []
    for name in strategies:
        row: dict = {"strategy": name}
        for decoding in DECODINGS:
            number, baseline = numbers.get((name, decoding)), numbers.get((BASELINE, decoding))
            row[f"{decoding.upper()} (%)"] = number.total() if number else ""
            tested = number and baseline and name != BASELINE
            comparison = paired_test(number, baseline, Bootstrap()) if tested else None
            row[f"{decoding.upper()} against {BASELINE}"] = f"{comparison.difference:+.2f}" if tested else ""
            row["p" if decoding == DECODINGS[0] else "p "] = f"{comparison.p:.3f}" if tested else ""
        rows.append(row)
    return rows
