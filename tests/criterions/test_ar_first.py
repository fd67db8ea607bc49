"""``--ar-updates``: AR alone first, as in a run of AR alone; then streams and NAR, as in a run of those."""

import json

import pytest
import torch

from bang_plugin.criterions.nstream_loss import NStreamLoss, trains_nar
from tests.command_line import fairseq
from tests.conftest import SMALL, build_reference_model
from tests.reliability.test_kill import same

ALL = {"ngram": 4, "nar_ratio": 0.3, "label_smoothing": 0.1}


def update(model, criterion, batch, number: int):
    """One update's loss, sample size and gradients, and the chain rows that the decoder computed in it."""
    rows = []
    counting = model.decoder.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(kwargs["streams"].element.numel()), with_kwargs=True
    )
    model.zero_grad()
    model.set_num_updates(number)
    torch.manual_seed(number)
    loss, size, log = criterion(model, batch)
    loss.backward()
    counting.remove()
    return loss.item(), size, [p.grad.clone() for p in model.parameters()], rows, log


@pytest.mark.parametrize(
    "options", [{}, {"stream_weights": [0.0, 1.0, 1.0, 3.0]}, {"anchors": 1}, {"sentence_avg": True}], ids=str
)
def test_updates_of_each_phase(reference, batch, make_task, options):
    """Each is, to the bit and to the row, one of ``--ngram 1 --nar-ratio 0``, then one without the option."""
    model = build_reference_model(reference, dropout=0.1).train()
    ar_first = NStreamLoss(make_task(), ar_updates=2, **ALL, **options)
    same_size = {name: value for name, value in options.items() if name == "sentence_avg"}
    ar = NStreamLoss(make_task(), label_smoothing=0.1, **same_size)
    everything = NStreamLoss(make_task(), **ALL, **options)
    computed = []
    for number in range(8):
        found = update(model, ar_first, batch, number)
        expected = update(model, ar if number < 2 else everything, batch, number)
        assert same(found[:4], expected[:4])
        computed += found[3]
        assert found[4]["phase"] == (1 if number < 2 else 2)
        assert ("ar_loss" in found[4]) == (number < 2)
    streams = next(n for n in range(2, 8) if not trains_nar(0.3, 1, n))
    if "anchors" not in options:
        assert computed[0] == computed[1] < computed[streams] / 2


def test_validation_is_the_whole_objective_from_the_start(model, batch, make_task):
    ar_first, everything = NStreamLoss(make_task(), ar_updates=5, **ALL), NStreamLoss(make_task(), **ALL)
    for number in (0, 9):
        model.set_num_updates(number)
        found, expected = ar_first(model, batch), everything(model, batch)
        assert same(found, expected) and {"ar_nll", "stream4_nll", "nar_nll"} <= found[2].keys()


def train(toy_data, folder, updates, *options) -> dict:
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--dropout", 0.1, "--batch-size", 16]
    fairseq("train", *base, "--save-dir", folder, "--max-update", updates, "--disable-validation", *options)
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


EVERYTHING = ["--ngram", 3, "--nar-ratio", 0.3]


@pytest.mark.parametrize("frequency", [1, 2])
def test_first_phase_is_a_run_of_ar(toy_data, tmp_path, frequency):
    often = ["--update-freq", frequency]
    alone = train(toy_data, tmp_path / "alone", 4, *often)
    first = train(toy_data, tmp_path / "first", 4, *often, *EVERYTHING, "--ar-updates", 4)
    for part in ("model", "last_optimizer_state"):
        assert same(first[part], alone[part])
    # the phase follows the number of updates: a run of AR alone goes on as this one does
    options = [*often, *EVERYTHING, "--ar-updates", 4]
    first, alone = (train(toy_data, tmp_path / folder, 7, *options) for folder in ("first", "alone"))
    assert same(first["model"], alone["model"])


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_resumed_in_either_phase(toy_data, tmp_path, stop):
    options = [*EVERYTHING, "--ar-updates", 4, "--no-epoch-checkpoints"]
    straight = train(toy_data, tmp_path / "straight", 8, *options)
    train(toy_data, tmp_path / "resumed", stop, *options)
    resumed = train(toy_data, tmp_path / "resumed", 8, *options)
    for part in ("model", "last_optimizer_state"):
        assert same(straight[part], resumed[part])


@pytest.mark.parametrize("start", [["--finetune-from-model"], ["--reset-optimizer", "--restore-file"]], ids=str)
def test_updates_are_counted_as_the_learning_rate_counts(toy_data, toy_checkpoint, tmp_path, start):
    """From 0 where training begins anew from parameters."""
    start = [*start, toy_checkpoint, "--reset-dataloader"] if len(start) > 1 else [*start, toy_checkpoint]
    alone = train(toy_data, tmp_path / "alone", 2, *start)
    first = train(toy_data, tmp_path / "first", 2, *start, *EVERYTHING, "--ar-updates", 2)
    assert same(first["model"], alone["model"]) and first["optimizer_history"][-1]["num_updates"] == 2


def test_log_tells_the_phase(toy_data, tmp_path, caplog):
    caplog.set_level("INFO")
    options = ["--log-interval", 1, "--log-format", "json", *EVERYTHING, "--ar-updates", 3, "--no-save"]
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--max-update", 8, "--batch-size", 16]
    fairseq("train", *base, "--disable-validation", *options)
    told = [r.getMessage() for r in caplog.records if "of --ar-updates" in r.getMessage()]
    assert told == [
        "phase 1 of --ar-updates: trains AR alone until update 3, then --ngram 3 --nar-ratio 0.3",
        "phase 2 of --ar-updates: trains from here on --ngram 3 --nar-ratio 0.3",
    ]
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "train_inner"]
    assert [line["phase"] for line in lines] == ["1"] * 3 + ["2"] * 5
    for number, line in enumerate(lines):
        assert ("all_nll" in line) == (number >= 3 and not trains_nar(0.3, 1, number))
        assert ("nar_nll" in line) == (number >= 3 and trains_nar(0.3, 1, number))
        assert ("nll_loss" in line) != ("nar_nll" in line)
    assert any("nar_nll" in line for line in lines)
    assert "None" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("train"))
