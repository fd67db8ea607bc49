"""The criterion's options and its choice between AR and NAR."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from fairseq import metrics
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.modules import FairseqDropout

from bang_plugin.criterions.nstream_loss import NStreamLoss, trains_nar
from bang_plugin.errors import BangError
from tests.command_line import fairseq
from tests.conftest import SMALL, build_reference_model


def test_nar_updates_follow_ratio_seed_and_update():
    drawn = [trains_nar(0.3, 1, update) for update in range(2000)]
    assert 0.26 < sum(drawn) / 2000 < 0.34
    assert drawn == [trains_nar(0.3, 1, update) for update in range(2000)]
    assert drawn != [trains_nar(0.3, 2, update) for update in range(2000)]
    assert not any(trains_nar(0.0, 1, update) for update in range(100))
    assert all(trains_nar(1.0, 1, update) for update in range(100))


def test_disable_ngram_loss_trains_stream_1_alone(model, batch, make_task):
    one, size, _ = NStreamLoss(make_task(), ngram=1)(model, batch)
    found, found_size, log = NStreamLoss(make_task(), ngram=3, disable_ngram_loss=True)(model, batch)
    assert (found.item(), found_size) == (pytest.approx(one.item()), size) and "stream3_nll" not in log
    assert NStreamLoss(make_task(), ngram=3)(model, batch)[0].item() != pytest.approx(one.item())
    with pytest.raises(BangError, match="leave out --stream-weights"):
        NStreamLoss(make_task(), ngram=3, disable_ngram_loss=True, stream_weights=[1, 1, 1])


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


def split(batch, pad):
    """The batch's sentences one at a time, as batches without padding in the target."""
    for k, target in enumerate(batch["target"]):
        length = int(target.ne(pad).sum())
        inputs = {name: value[k : k + 1] for name, value in batch["net_input"].items()}
        inputs["prev_output_tokens"] = inputs["prev_output_tokens"][:, :length]
        yield {**batch, "id": batch["id"][k : k + 1], "net_input": inputs, "target": target[None, :length]}


def logged(outputs) -> dict:
    """Metrics of a validation set whose batches were logged one after the other."""
    with metrics.aggregate(new_root=True) as found:
        for output in outputs:
            NStreamLoss.reduce_metrics([output])
    return found.get_smoothed_values()


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_validation_loss_is_what_updates_minimise(model, batch, make_task, reference, sentence_avg):
    """In expectation, over a set of several batches: a mean over streams and one over NAR, whatever their pairs."""
    options = {"ngram": 4, "label_smoothing": 0.1, "sentence_avg": sentence_avg}
    sentences = list(split(batch, reference.meta["pad"]))
    parts = []
    for nar_ratio in (0.0, 1.0):
        criterion = NStreamLoss(make_task(), nar_ratio=nar_ratio, **options)
        losses, sizes, _ = zip(*(criterion(model, sentence) for sentence in sentences))
        parts.append((sum(losses) / sum(sizes)).item() / math.log(2))
    assert abs(parts[0] - parts[1]) > 0.04
    mixed = NStreamLoss(make_task(), nar_ratio=0.3, **options)
    found = logged(mixed(model, sentence)[2] for sentence in sentences)
    assert found["loss"] == pytest.approx(0.7 * parts[0] + 0.3 * parts[1], abs=6e-4)
    # two workers, one of which has run out of batches
    outputs = [mixed(model, sentence)[2] for sentence in sentences]
    together = {name: outputs[0][name] + outputs[1][name] for name in outputs[0]}
    assert logged([together, outputs[2]])["loss"] == found["loss"]
    loss, size, _ = mixed(model, sentences[0])
    assert (loss / size).item() / math.log(2) == pytest.approx(logged([outputs[0]])["loss"], abs=6e-4)


def test_names_of_what_is_logged(model, batch, make_task):
    """``nll_loss`` and ``ppl`` are fairseq's own of the AR model; each other part has names of its own."""
    plain = CrossEntropyCriterion(make_task(), sentence_avg=True)
    with metrics.aggregate(new_root=True) as expected:
        plain.reduce_metrics([plain(model, batch)[2]])
    nar = logged([NStreamLoss(make_task(), nar_ratio=1.0, label_smoothing=0.1)(model, batch)[2]])
    found = logged([NStreamLoss(make_task(), ngram=4, nar_ratio=0.3, label_smoothing=0.1)(model, batch)[2]])
    for name in ("nll_loss", "ppl"):
        assert found[name] == pytest.approx(expected.get_smoothed_value(name), rel=1e-3)
    assert found["nar_nll"] == nar["nar_nll"] == nar["nll_loss"] and found["nar_ppl"] == nar["ppl"]
    assert {"ar_nll", "stream4_nll", "stream4_ppl", "stream4_accuracy", "all_nll", "nar_accuracy"} <= found.keys()
    assert not {"ar_nll", "stream4_nll"} & nar.keys()


def test_training_logs_parts_apart_and_nothing_as_none(toy_data, tmp_path, caplog):
    """With fairseq's defaults, at every update: an update of NAR says nothing of AR and the other way round."""
    caplog.set_level("INFO")
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--no-save", "--max-update", 8, "--batch-size", 16]
    options = ["--log-interval", 1, "--log-format", "json", "--ngram", 2, "--nar-ratio", 0.5, "--disable-validation"]
    fairseq("train", *base, *options)
    assert "None" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("train_inner"))
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "train_inner"]
    kinds = [trains_nar(0.5, 1, update) for update in range(8)]
    assert len(set(kinds)) == 2 and len(lines) == 8
    for line, nar in zip(lines, kinds):
        assert {"loss", "nar_nll" if nar else "nll_loss", "nar_ppl" if nar else "ppl"} <= line.keys()
        assert not {"nll_loss", "ppl", "stream2_nll"} & line.keys() if nar else "nar_nll" not in line


def test_sentence_average(model, batch, make_task, reference):
    """A sum over target tokens by sentences, in both kinds of update: a sentence's streams share its tokens' weight."""
    sentences = list(split(batch, reference.meta["pad"]))
    for options in ({"ngram": 1}, {"ngram": 4}, {"ngram": 3, "stream_weights": [1.0, 0.5, 2.0]}, {"nar_ratio": 1.0}):
        by_token = NStreamLoss(make_task(), **options)
        loss, size, _ = NStreamLoss(make_task(), sentence_avg=True, **options)(model, batch)
        parts = [(by_token(model, sentence), sentence["target"].numel()) for sentence in sentences]
        assert size == len(sentences)
        assert loss.item() == pytest.approx(sum(tokens * (x / n).item() for (x, n, _), tokens in parts), rel=1e-5)


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


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_sampled_anchors_are_unbiased(model, batch, make_task, sentence_avg):
    full, size, _ = NStreamLoss(make_task(), ngram=3, sentence_avg=sentence_avg)(model, batch)
    sampled = NStreamLoss(make_task(), ngram=3, anchors=2, sentence_avg=sentence_avg)
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
        # stream 1 stays at every slot, and two chains of each sentence whole
        assert log["ar_pairs"] == batch["ntokens"] and log["stream3_pairs"] <= 2 * len(batch["target"])
        losses.append(loss.item())
    losses = torch.tensor(losses)
    assert losses.std() > 0
    assert abs(losses.mean() - full.item()) < 4 * losses.std() / 300**0.5


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ngram": 0}, "--ngram must be at least 1"),
        ({"anchors": -1}, "--anchors must be 0"),
        ({"ar_updates": -1, "ngram": 2}, "--ar-updates must be 0 or more"),
        ({"ar_updates": 5}, "--ar-updates 5: AR alone is all that"),
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


@pytest.mark.parametrize(
    "options",
    [{}, {"ngram": 4}, {"ngram": 4, "anchors": 1}, {"nar_ratio": 1.0}, {"ngram": 4, "ar_updates": 1}],
    ids=str,
)
def test_every_parameter_takes_part_in_every_update(reference, batch, make_task, options):
    """Or several GPUs stop: they wait for each parameter's gradient from all of them."""
    model = build_reference_model(reference).train()
    NStreamLoss(make_task(), **options)(model, batch)[0].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("nar_prefix", ["empty", "start"])
@pytest.mark.parametrize("backend", ["dense", "compact"])
def test_nar_loss_under_padding_of_either_side(reference, batch, make_task, nar_prefix, backend):
    model = build_reference_model(reference, nar_prefix=nar_prefix, attention_backend=backend)
    criterion, pad = NStreamLoss(make_task(), nar_ratio=1.0), reference.dictionary.pad()
    loss, size, _ = criterion(model, batch)
    alone = sum(criterion(model, one)[0].item() for one in split(batch, pad))
    assert loss.item() == pytest.approx(alone, rel=1e-5)
    order = batch["target"].ne(pad).long().argsort(dim=1, stable=True)  # padding first
    previous = batch["net_input"]["prev_output_tokens"].gather(1, order)
    left = {**batch, "target": batch["target"].gather(1, order)}
    left["net_input"] = {**batch["net_input"], "prev_output_tokens": previous}
    assert criterion(model, left)[0].item() == pytest.approx(loss.item(), rel=1e-5)
    if nar_prefix == "start":  # it equals the first chain of as many streams as there are tokens
        streams = NStreamLoss(make_task(), ngram=batch["target"].size(1))
        streams.chain_lengths = lambda sample, real, longest: real.sum(1, keepdim=True) * real.cumsum(1).eq(1)
        assert streams(model, batch)[0].item() == pytest.approx(loss.item(), rel=1e-5)
