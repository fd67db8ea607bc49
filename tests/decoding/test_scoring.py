"""How probable given outputs are under each decoding: against the model's own logits, chain by chain."""

import argparse

import pytest
import torch
from fairseq.data.data_utils import collate_tokens

from bang_plugin.errors import BangError
from tests.conftest import build_reference_model

from .conftest import write

MODES = [
    {"decoding": "nar"},
    {"decoding": "nar", "nar_chunk": 3},
    {"decoding": "semi_nar", "block_size": 3},
    {"decoding": "semi_nar", "block_size": 1},
    {"decoding": "confident", "block_size": 4, "confidence": 0.12},
    {"decoding": "adaptive", "block_size": 3, "tolerance": 1.0},
    {"decoding": "speculative", "block_size": 3},
    {"decoding": "ar"},
]


@pytest.fixture
def targets(reference):
    torch.manual_seed(5)
    eos = torch.tensor([reference.dictionary.eos()])
    return [torch.cat([torch.randint(10, 60, (n,)), eos]) for n in (7, 0, 1, 2, 3, 11, 6, 5)]


def score(task, model, rows, targets, left_pad_target=False, **options):
    """What ``--score-reference`` says of each target."""
    pad, eos = task.source_dictionary.pad(), task.source_dictionary.eos()
    models = model if isinstance(model, list) else [model]
    net_input = {
        "src_tokens": collate_tokens(rows, pad, left_pad=True),
        "src_lengths": torch.tensor([len(r) for r in rows]),
        "prev_output_tokens": collate_tokens(targets, pad, eos, left_pad_target, move_eos_to_beginning=True),
    }
    sample = {"net_input": net_input, "target": collate_tokens(targets, pad, left_pad=left_pad_target)}
    generator = task.build_generator(models, argparse.Namespace(score_reference=True, **options))
    return [h[0] for h in task.inference_step(generator, models, sample)]


@torch.no_grad()
def chain(models, row, output, anchor, size):
    """Log-probabilities of a chain behind ``anchor`` + 1 real tokens, NAR's without one; as training computes them."""
    lprobs = []
    for model in models:
        encoder_out = model.encoder(row.unsqueeze(0), src_lengths=None)
        decoder = model.decoder
        previous = torch.cat([output[-1:], output[:-1]]).unsqueeze(0)
        if anchor is None:
            previous, streams = decoder.whole_outputs(previous, torch.arange(1, size + 1).unsqueeze(0))
        else:
            previous = previous[:, : anchor + 1]
            streams = decoder.teacher_forcing(previous, torch.tensor([[0] * anchor + [size]]))
        logits, _ = decoder(previous, encoder_out, streams=streams)
        lprobs.append(logits[0].float().log_softmax(-1).exp())
    return torch.stack(lprobs).mean(0).log()


def by_hand(models, row, output, mode):
    length, size = len(output), mode.get("block_size", 1)
    if mode["decoding"] == "nar":
        return chain(models, row, output, None, length).gather(1, output.unsqueeze(1)).squeeze(1)
    if mode["decoding"] in ("ar", "speculative", "adaptive"):
        size = 1
    found = []
    while len(found) < length:
        place = len(found)
        lprobs = chain(models, row, output, place, size)
        kept = size
        if mode["decoding"] == "confident":
            best = lprobs.clone()
            best[:, models[0].decoder.padding_idx] = -torch.inf  # never chosen, as the end symbol at first
            if place == 0:
                best[0, output[-1]] = -torch.inf
            sure = (best.max(-1).values.exp() >= mode["confidence"]).tolist()
            kept = next((j for j in range(1, size) if not sure[j]), size)
        found += [lprobs[j, output[place + j]] for j in range(min(kept, length - place))]
    return torch.stack(found)


@pytest.fixture
def other(reference):
    torch.manual_seed(1)
    model = build_reference_model(reference)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("mode", [*MODES, {"decoding": "nar", "nar_chunk": 4, "nar_prefix": "start"}])
@pytest.mark.parametrize("ensemble", [False, True])
def test_each_token_is_what_its_chain_says(make_task, model, other, rows, targets, mode, ensemble):
    mode = dict(mode)
    if nar_prefix := mode.pop("nar_prefix", None):  # of the model
        model.decoder.nar_prefix = other.decoder.nar_prefix = nar_prefix
    models, task = [model, other] if ensemble else [model], make_task(**mode)
    together = score(task, models, rows, targets)
    for i, (row, output) in enumerate(zip(rows, targets)):
        expected = by_hand(models, row, output, mode)
        for found in (together[i], score(task, models, [row], [output])[0]):
            assert found["tokens"].tolist() == output.tolist()
            torch.testing.assert_close(found["positional_scores"], expected, atol=2e-5, rtol=0)
            assert float(found["score"]) == pytest.approx(float(expected.mean()), abs=2e-5)


def test_the_modes_differ(make_task, model, rows, targets):
    totals = {
        str(mode): sum(float(h["score"]) for h in score(make_task(**mode), model, rows, targets)) for mode in MODES
    }
    distinct = {round(total, 3) for total in totals.values()}
    # a chunk changes nothing; blocks of 1 and verified ones are AR
    assert len(distinct) == len(MODES) - 4


@pytest.mark.parametrize("mode", MODES[:-1])
def test_outputs_have_the_scores_they_were_written_with(make_task, model, rows, mode):
    task = make_task(**mode)
    written = write(task, model, rows)
    scored = score(task, model, rows, [h["tokens"] for h in written])
    for a, b in zip(written, scored):
        torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=2e-5, rtol=0)
        assert float(a["score"]) == pytest.approx(float(b["score"]), abs=2e-5)


@pytest.mark.parametrize("mode", [MODES[2], {"decoding": "confident", "block_size": 4, "confidence": 0.02}])
def test_likelihoods_add_up_to_one(make_task, model, rows, mode):
    """Over all beginnings of two tokens: where a block ends must not depend on the given tokens."""
    task = make_task(**mode)
    pad, eos = task.target_dictionary.pad(), task.target_dictionary.eos()
    tokens = [t for t in range(len(task.target_dictionary)) if t != pad]
    outputs = [torch.tensor([a, b, eos]) for a in tokens for b in tokens]
    found = score(task, model, rows[:1] * len(outputs), outputs)
    total = sum(float(h["positional_scores"][:2].sum().exp()) for h in found)
    # all but what the model gives to padding, in the first two elements of its first chain
    padding = chain([model], rows[0], outputs[0], 0, 2)[:, pad].exp()
    assert total == pytest.approx(float((1 - padding).prod()), abs=1e-4)


@pytest.mark.parametrize("mode", MODES[:5])
def test_padding_on_the_left_changes_nothing(make_task, model, rows, targets, mode):
    task = make_task(**mode)
    for a, b in zip(score(task, model, rows, targets), score(task, model, rows, targets, left_pad_target=True)):
        torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES[:5])
def test_an_end_symbol_in_the_midst(make_task, model, rows, mode):
    """Text that looks like the end symbol: every token counts, as with fairseq's scorer."""
    eos = make_task().target_dictionary.eos()
    output = torch.tensor([12, eos, 14, eos])
    (found,) = score(make_task(**mode), model, rows[:1], [output])
    expected = by_hand([model], rows[0], output, mode)
    torch.testing.assert_close(found["positional_scores"], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_without_targets(make_task, model, rows, mode):
    with pytest.raises(BangError, match="--score-reference needs targets"):
        write(make_task(**mode), model, rows, score_reference=True)
