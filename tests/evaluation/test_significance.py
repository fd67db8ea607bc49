"""Intervals and the paired test: known distributions, equal and different systems, sacrebleu's own test."""

import math

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from bang_plugin.evaluation import METRICS, Options, Signature, evaluate
from bang_plugin.evaluation.base import mean
from bang_plugin.evaluation.significance import Bootstrap, Comparison, correct, paired_test


def random_text(random, length, letters="abcdefgh"):
    return " ".join(random.choice(list(letters), length))


def test_interval_of_a_share_is_the_binomial_one():
    values = np.arange(400) % 2
    low, high = Bootstrap().interval(mean(Signature("share"), values))
    half = 100 * 1.96 * math.sqrt(0.25 / 400)
    assert low == pytest.approx(50 - half, abs=0.7) and high == pytest.approx(50 + half, abs=0.7)


def test_intervals_and_their_settings_are_in_the_score():
    random = np.random.default_rng(0)
    texts = [random_text(random, 8) for _ in range(30)]
    references = [[random_text(random, 8)] for _ in range(30)]
    found = evaluate(texts, references, ["bleu", "per", "distinct"], bootstrap=Bootstrap(200, seed=3))
    for name in ("bleu_1", "phoneme_error_rate"):
        low, high = found[name].interval
        assert low < found[name].value < high
        assert found[name].signature.endswith("|bs:200|seed:3")
    assert found["distinct_1"].interval is None and "bs:" not in found["distinct_1"].signature
    again = evaluate(texts, references, ["bleu"], bootstrap=Bootstrap(200, seed=3))
    other = evaluate(texts, references, ["bleu"], bootstrap=Bootstrap(200, seed=4))
    assert again["bleu_1"].interval == found["bleu_1"].interval != other["bleu_1"].interval


def systems(seed=0, sentences=60, shares=(0.1, 0.3)):
    """References, and two systems with these shares of wrong letters."""
    random = np.random.default_rng(seed)
    references = [random.choice(list("abcdefgh"), 10) for _ in range(sentences)]

    def spoilt(share):
        return [" ".join(np.where(random.random(10) < share, "x", text)) for text in references]

    return [[" ".join(text)] for text in references], *map(spoilt, shares)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "distinct"])
def test_paired_test_knows_equal_and_different_systems(metric):
    references, good, bad = systems()
    for number in METRICS[metric](good, references, Options()):
        same = paired_test(number, number, Bootstrap(100))
        assert (same.difference, same.p) == (0, 1)
    ours, theirs = (METRICS[metric](texts, references, Options()) for texts in (good, bad))
    for left, right in zip(ours, theirs):
        there, back = paired_test(left, right, Bootstrap(200)), paired_test(right, left, Bootstrap(200))
        assert there.p == back.p < 0.05
        assert there.difference == -back.difference == left.total() - right.total()
        assert (there.difference < 0) == metric.endswith("er")


def test_distinct_has_a_difference_but_no_test():
    ours, theirs = (METRICS["distinct"](texts, [["x"]], Options())[0] for texts in (["a b"], ["a a"]))
    tested = paired_test(ours, theirs, Bootstrap(10))
    assert (tested.baseline, tested.difference, tested.p) == (50, 50, None)


@pytest.mark.parametrize("right", [0, 2, 4])
def test_paired_test_agrees_with_sacrebleus_randomisation(right):
    """One system has ``right`` sentences right that the other has not, and both err elsewhere by chance."""
    references, system, baseline = systems(seed=1, shares=(0.3, 0.3))
    system = [reference[0] if i < right else text for i, (text, reference) in enumerate(zip(system, references))]
    counts = [METRICS["bleu"](texts, references, Options(tokenize="none"))[3] for texts in (system, baseline)]
    ours = paired_test(*counts, Bootstrap(2000)).p
    named, columns = [("baseline", baseline), ("system", system)], [[reference[0] for reference in references]]
    test = PairedTest(named, {"BLEU": BLEU(tokenize="none")}, columns, test_type="ar", n_samples=2000)
    _, theirs = test()
    assert ours == pytest.approx(theirs["BLEU"][1].p_value, abs=0.05)


def test_paired_test_seldom_sees_a_difference_where_there_is_none():
    random = np.random.default_rng(0)
    small = 0
    for _ in range(200):
        left, right = (mean(Signature("x"), random.random(60)) for _ in range(2))
        small += paired_test(left, right, Bootstrap(200)).p < 0.05
    assert 2 <= small <= 22  # 10 expected


def test_holms_correction_by_hand():
    values = {"a": 0.01, "b": 0.04, "none": None, "c": 0.03, "d": 0.6}
    corrected = correct({name: Comparison(0, 0, p) for name, p in values.items()})
    # 4 x 0.01; 3 x 0.03; 2 x 0.04 = 0.08, but not less than 0.09; 0.6
    found = {name: test.corrected for name, test in corrected.items()}
    assert found == {"a": 0.04, "b": pytest.approx(0.09), "none": None, "c": pytest.approx(0.09), "d": 0.6}
    assert correct({"x": Comparison(0, 0, 0.7), "y": Comparison(0, 0, 0.8)})["x"].corrected == 1


def test_of_tables_without_a_difference_few_have_a_small_corrected_value():
    random = np.random.default_rng(0)
    plain = corrected = 0
    for _ in range(100):
        tests = correct({str(k): Comparison(0, 0, p) for k, p in enumerate(random.random(8))})
        plain += any(test.p < 0.05 for test in tests.values())
        corrected += any(test.corrected < 0.05 for test in tests.values())
    assert plain > 20 and corrected <= 12  # 34 and 5 expected
