"""The criterion's options and its choice between AR and NAR."""

import pytest
import torch
import torch.nn.functional as F
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.modules import FairseqDropout

from bang_plugin.criterions.nstream_loss import NStreamLoss, trains_nar
from bang_plugin.errors import BangError
from tests.conftest import build_reference_model


def test_nar_updates_follow_ratio_seed_and_update():
    drawn = [trains_nar(0.3, 1, update) for update in range(2000)]
    assert 0.26 < sum(drawn) / 2000 < 0.34
    assert drawn == [trains_nar(0.3, 1, update) for update in range(2000)]
    assert drawn != [trains_nar(0.3, 2, update) for update in range(2000)]
    assert not any(trains_nar(0.0, 1, update) for update in range(100))
    assert all(trains_nar(1.0, 1, update) for update in range(100))


def test_training_and_validation_modes(model, batch, make_task):
    criterion = NStreamLoss(make_task(), nar_ratio=0.25)
    _, _, log = criterion(model, batch)
    ar, _, _ = NStreamLoss(make_task(), nar_ratio=0.0)(model, batch)
    nar, _, _ = NStreamLoss(make_task(), nar_ratio=1.0)(model, batch)
    assert log["loss"] == pytest.approx(0.75 * ar.item() + 0.25 * nar.item())
    model.train()
    for update in range(8):
        model.set_num_updates(update)
        _, _, log = criterion(model, batch)
        assert ("nar_pairs" in log) == trains_nar(0.25, 1, update)
        assert ("ar_pairs" in log) != ("nar_pairs" in log)


def test_sentence_average(model, batch, make_task):
    _, by_token, _ = NStreamLoss(make_task())(model, batch)
    _, by_sentence, _ = NStreamLoss(make_task(), sentence_avg=True)(model, batch)
    assert (by_token, by_sentence) == (17, 3)


def chain_targets(target, pad, n):
    """All (sentence, stream, target) triples of n-stream training, by the definition."""
    for b, row in enumerate(target.tolist()):
        length = sum(token != pad for token in row)
        for anchor in range(length):
            for k in range(1, n + 1):
                if anchor + k <= length:
                    yield b, k, anchor + k - 1


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 0.5]])
def test_loss_of_streams_equals_the_mean_over_reference_logits(model, reference, batch, make_task, weights):
    """Against the literal n-stream logits: stream k's prediction of every target."""
    criterion = NStreamLoss(make_task(), ngram=4, label_smoothing=0.1, stream_weights=weights)
    loss, sample_size, log = criterion(model, batch)
    expected, size = 0.0, 0.0
    for b, k, slot in chain_targets(batch["target"], reference.meta["pad"], 4):
        logits = reference.nstream[f"nstream_logits_{b}"][k - 1, slot]
        weight = weights[k - 1] if weights else 1.0
        expected += weight * F.cross_entropy(logits, batch["target"][b, slot], label_smoothing=0.1).item()
        size += weight
    assert sample_size == pytest.approx(size)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert {"ar_pairs", "stream4_pairs", "all_pairs"} <= log.keys()


def test_one_stream_is_ar(model, batch, make_task):
    """N = 1 gives fairseq's own cross-entropy over the AR logits."""
    loss, size, _ = NStreamLoss(make_task(), ngram=1)(model, batch)
    plain = CrossEntropyCriterion(make_task(), sentence_avg=False)
    expected, expected_size, _ = plain(model, batch)
    assert size == expected_size
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("backend", ["dense", "compact"])
def test_gradients_of_backends(reference, batch, make_task, backend):
    """The compact loss has the literal one's gradients: dense attention over the full grid, plain cross-entropy."""
    model = build_reference_model(reference, attention_backend=backend).double()
    loss, _, _ = NStreamLoss(make_task(), ngram=4)(model, batch)
    loss.backward()
    literal = build_reference_model(reference, attention_backend="dense").double()
    inputs, target = batch["net_input"], batch["target"]
    real = target.ne(reference.meta["pad"])
    grid = literal.decoder.teacher_forcing(inputs["prev_output_tokens"], torch.full_like(target, 4), full=True)
    logits, _ = literal(**inputs, streams=grid)
    inside = grid.chain + grid.element - 1 < real.sum(1, keepdim=True)
    picked = target.gather(1, grid.target_slot)
    F.cross_entropy(logits[inside], picked[inside], reduction="sum").backward()
    for ours, theirs in zip(model.parameters(), literal.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-8, rtol=1e-8)


def test_sampled_anchors_are_unbiased(model, batch, make_task):
    full, size, _ = NStreamLoss(make_task(), ngram=3)(model, batch)
    sampled = NStreamLoss(make_task(), ngram=3, anchors=2)
    model.train()
    for module in model.modules():  # without dropout, only the draw of the anchors is random
        if isinstance(module, FairseqDropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    model.encoder.layers.eval()
    losses = []
    for update in range(300):
        model.set_num_updates(update)
        loss, sampled_size, log = sampled(model, batch)
        assert sampled_size == size
        assert log["all_pairs"] < 30
        losses.append(loss.item())
    losses = torch.tensor(losses)
    assert losses.std() > 0
    assert abs(losses.mean() - full.item()) < 4 * losses.std() / 300**0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ngram": 0}, "--ngram must be at least 1"),
        ({"anchors": -1}, "--anchors must be 0"),
        ({"ngram": 2, "stream_weights": [1.0]}, "--stream-weights needs 2 weights"),
        ({"ngram": 2, "stream_weights": [0.0, 0.0]}, "--stream-weights needs 2 weights"),
    ],
)
def test_stream_options_out_of_range(make_task, options, message):
    with pytest.raises(BangError, match=message):
        NStreamLoss(make_task(), **options)


@pytest.mark.parametrize("option", ["nar_ratio", "label_smoothing"])
def test_values_out_of_range(make_task, option):
    with pytest.raises(BangError, match=f"--{option.replace('_', '-')} must lie between 0 and 1, not 1.5"):
        NStreamLoss(make_task(), **{option: 1.5})
