"""NAR: the same hypothesis alone, in any batch, under any padding, in any number of passes."""

import pytest
import torch

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
