"""NAR: the same hypothesis alone, in any batch, under any padding, in any number of passes."""

import pytest
import torch

from bang_plugin.errors import BangError
from tests.conftest import build_reference_model

from .conftest import write


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_batch_of_8_equals_8_batches_of_1(make_task, model, rows, chunk):
    task = make_task(decoding="nar", nar_chunk=chunk)
    alone = [write(make_task(decoding="nar"), model, [row])[0] for row in rows]
    for options in ({}, {"left_pad": False}, {"pad_to": 20}):
        together = write(task, model, rows, **options)
        for a, b in zip(alone, together):
            assert torch.equal(a["tokens"], b["tokens"])
            torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-5, rtol=0)


def test_scores_are_log_probabilities(make_task, model, rows):
    task = make_task(decoding="nar")
    for lenpen in (0.0, 1.0, 1.7):
        for hypothesis in write(task, model, rows, lenpen=lenpen):
            scores = hypothesis["positional_scores"]
            assert (scores <= 0).all() and len(scores) == len(hypothesis["tokens"])
            assert hypothesis["score"].item() == pytest.approx(scores.sum().item() / len(scores) ** lenpen, rel=1e-5)
    raw = write(task, model, rows, unnormalized=True)[0]
    assert raw["score"].item() == pytest.approx(raw["positional_scores"].sum().item(), rel=1e-5)


def test_length_limits(make_task, model, rows, reference):
    task, eos = make_task(decoding="nar"), reference.dictionary.eos()
    for hypothesis in write(task, model, rows, min_len=5):
        assert len(hypothesis["tokens"]) > 5
    for hypothesis in write(task, model, rows, max_len_b=4, min_len=4):
        assert len(hypothesis["tokens"]) == 5 and hypothesis["tokens"][-1] == eos
    for row, hypothesis in zip(rows, write(task, model, rows, max_len_a=0.5, max_len_b=1, min_len=100)):
        assert len(hypothesis["tokens"]) == len(row) // 2 + 2


def test_passes_grow_with_small_chunks(make_task, model, rows):
    one = write(make_task(decoding="nar", nar_chunk=100), model, rows)
    many = write(make_task(decoding="nar", nar_chunk=1), model, rows)
    assert {h["passes"] for h in one} == {1}
    assert [h["passes"] for h in many] == [len(h["tokens"]) for h in many]


@pytest.fixture
def starting(reference):
    """A model whose NAR chain stands after y_0."""
    return build_reference_model(reference, nar_prefix="start")


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_after_y0_nar_is_a_block_as_long_as_the_sentence(make_task, starting, model, rows, chunk):
    block = write(make_task(decoding="semi_nar", block_size=31), starting, rows)
    for wanted, found in zip(block, write(make_task(decoding="nar", nar_chunk=chunk), starting, rows)):
        assert torch.equal(wanted["tokens"], found["tokens"])
        torch.testing.assert_close(wanted["positional_scores"], found["positional_scores"], atol=1e-5, rtol=0)
    after_nothing = write(make_task(decoding="nar"), model, rows)
    assert any(not torch.equal(a["tokens"], b["tokens"]) for a, b in zip(block, after_nothing))


def test_candidates_after_y0_hold_its_own_output(make_task, starting, rows):
    alone = write(make_task(decoding="nar"), starting, rows)
    ranked = write(make_task(decoding="nar", nar_candidates=8, nar_chunk=3), starting, rows)
    likelihood = [h["positional_scores"].sum() / len(h["tokens"]) for h in ranked]
    again = [write(make_task(decoding="nar", nar_candidates=8), starting, [row])[0] for row in rows]
    assert [h["tokens"].tolist() for h in ranked] == [h["tokens"].tolist() for h in again]
    assert all(abs(len(a["tokens"]) - len(b["tokens"])) <= 1 for a, b in zip(alone, ranked))
    assert torch.stack(likelihood).isfinite().all()


def test_an_ensemble_was_trained_alike(make_task, model, starting, rows):
    with pytest.raises(BangError, match="same --nar-prefix"):
        write(make_task(decoding="nar"), [model, starting], rows)
    assert len(write(make_task(decoding="nar"), [starting, starting], rows)) == len(rows)
