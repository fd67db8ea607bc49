"""Every strategy against the base line, with the paired test that says what may be chance."""

from bang_plugin.evaluation import Number, Options, count
from bang_plugin.evaluation.significance import Bootstrap, correct, paired_test

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
    the chance of a difference as large if both were equally good, corrected for the number of tests in the table.

    It tells noise of the test words only. How far runs differ by their seed, ``seed_2`` has to tell.
    """
    numbers = error_rates(work, strategies)
    tests = correct(
        {
            " ".join(key): paired_test(number, numbers[BASELINE, key[1]], Bootstrap())
            for key, number in numbers.items()
            if key[0] != BASELINE and (BASELINE, key[1]) in numbers
        }
    )
    rows = []
    for name in strategies:
        row: dict = {"strategy": name}
        for decoding in DECODINGS:
            number, test = numbers.get((name, decoding)), tests.get(f"{name} {decoding}")
            row[f"{decoding.upper()} (%)"] = number.total() if number else ""
            row[f"{decoding.upper()} against {BASELINE}"] = f"{test.difference:+.2f}" if test else ""
            row["p (Holm)" if decoding == DECODINGS[0] else "p (Holm) "] = f"{test.corrected:.3f}" if test else ""
        rows.append(row)
    return rows
