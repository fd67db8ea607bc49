"""Sampling and temperature where tokens are drawn by themselves: NAR and blocks."""

import pytest
import torch

from bang_plugin.errors import BangError

from .conftest import write

MODES = [{"decoding": "nar"}, {"decoding": "semi_nar", "block_size": 3}]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_best_of_one_is_the_best(make_task, model, rows, mode):
    task = make_task(**mode)
    expected = write(task, model, rows)
    for options in ({"sampling_topk": 1}, {"sampling_topp": 1e-6}):
        for ours, best in zip(write(task, model, rows, sampling=True, **options), expected):
            assert torch.equal(ours["tokens"], best["tokens"])
            torch.testing.assert_close(ours["positional_scores"], best["positional_scores"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_seed_repeats_them(make_task, model, rows, mode):
    def samples(seed):
        torch.manual_seed(seed)
        return [h["tokens"].tolist() for h in write(make_task(**mode), model, rows, sampling=True)]

    assert samples(1) == samples(1) != samples(2)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_first_token_is_drawn_by_its_probability(make_task, model, rows, mode, temperature):
    draws, task = 3000, make_task(**mode)
    torch.manual_seed(0)
    options = {"sampling": True, "temperature": temperature, "max_len_b": 2}
    found = write(task, model, [rows[0]] * draws, **options)
    counts: dict[int, list[float]] = {}
    for hypothesis in found:
        counts.setdefault(int(hypothesis["tokens"][0]), []).append(float(hypothesis["positional_scores"][0]))
    # as often as its own score says; a score of the same token is always the same
    for scores in counts.values():
        assert max(scores) - min(scores) < 1e-4
        share, probability = len(scores) / draws, torch.tensor(scores[0]).exp().item()
        assert abs(share - probability) < 5 * (probability / draws) ** 0.5 + 2 / draws
    assert len(counts) > 3 and min(sum(scores[:1]) for scores in counts.values()) < 0


def test_a_low_temperature_sharpens_scores(make_task, model, rows):
    plain = write(make_task(decoding="nar"), model, rows)
    cold = write(make_task(decoding="nar"), model, rows, temperature=0.3)
    for a, b in zip(plain, cold):
        assert torch.equal(a["tokens"], b["tokens"]) and b["score"] > a["score"]


def test_refused(make_task, model, rows):
    with pytest.raises(BangError, match="--temperature must be above 0, not 0.0"):
        write(make_task(decoding="nar"), model, rows, sampling=True, temperature=0.0)
    with pytest.raises(BangError, match="--nar-candidates 4 takes the best chains"):
        write(make_task(decoding="nar", nar_candidates=4), model, rows, sampling=True)
    with pytest.raises(BangError, match="--sampling needs --decoding ar or nar or semi_nar"):
        write(make_task(decoding="adaptive"), model, rows, sampling=True)
