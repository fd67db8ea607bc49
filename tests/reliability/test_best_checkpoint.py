"""The best checkpoint: by a metric that validation logs, and among those of one objective."""

import json
import math

import pytest
import torch

from bang_plugin.errors import BangError
from tests.command_line import fairseq
from tests.conftest import SMALL

from .conftest import plain_text  # noqa: F401
from .test_two_processes import run_pair


def train(toy_data, save_dir, updates, *options) -> dict:
    """Train with validation after every 3 updates; returns the state of the best checkpoint."""
    base = [toy_data / "bin", "--task", "bang", "--save-dir", save_dir, "--max-update", updates, *SMALL]
    fairseq("train", *base, "--save-interval-updates", 3, "--no-epoch-checkpoints", *options)
    return torch.load(save_dir / "checkpoint_best.pt", weights_only=True)


def updates_of(checkpoint) -> int:
    return checkpoint["optimizer_history"][-1]["num_updates"]


ALL = ["--ngram", 4, "--nar-ratio", 0.3, "--label-smoothing", 0.5]  # whose loss is always higher


def test_another_objective_begins_anew(toy_data, tmp_path, caplog):
    """AR first, then streams and NAR: a best of theirs is found, however much higher their loss."""
    first = train(toy_data, tmp_path, 6, "--keep-best-checkpoints", 1)
    assert first["extra_state"]["objective"]["ngram"] == 1
    (kept,) = tmp_path.glob("checkpoint.best_loss_*")
    again = train(toy_data, tmp_path, 9, "--keep-best-checkpoints", 1)  # the same objective: the best stays the best
    assert "sought anew" not in caplog.text and not list(tmp_path.glob("*earlier*"))
    assert again["extra_state"]["best"] <= first["extra_state"]["best"]
    (kept,) = tmp_path.glob("checkpoint.best_loss_*")
    second = train(toy_data, tmp_path, 12, "--keep-best-checkpoints", 1, *ALL)
    assert updates_of(second) > 9
    assert second["extra_state"]["best"] == second["extra_state"]["val_loss"] > again["extra_state"]["best"]
    (line,) = [r.getMessage() for r in caplog.records if "sought anew" in r.getMessage()]
    assert "nar_ratio was 0.0, is 0.3, ngram was 1, is 4" in line
    assert "checkpoint_earlier_best.pt" in line
    earlier = torch.load(tmp_path / "checkpoint_earlier_best.pt", weights_only=True)
    assert updates_of(earlier) == updates_of(again)
    assert (tmp_path / kept.name.replace("best", "earlier_best", 1)).exists()
    (best,) = tmp_path.glob("checkpoint.best_loss_*")
    assert updates_of(torch.load(best, weights_only=True)) == updates_of(second)


AR_FIRST = ["--ngram", 4, "--nar-ratio", 0.3, "--ar-updates", 6]


@pytest.mark.parametrize("metric", ["loss", "nll_loss", "nar_nll"])
def test_ar_first_has_a_best_of_what_follows(toy_data, tmp_path, caplog, metric):
    """At every validation in AR's phase and at its end none counts, though they log the metric and save the last."""
    caplog.set_level("INFO")
    options = [*AR_FIRST, "--best-checkpoint-metric", metric, "--keep-best-checkpoints", 1, "--log-format", "json"]
    with pytest.raises(FileNotFoundError, match="checkpoint_best.pt"):
        train(toy_data, tmp_path, 6, *options)
    assert "--max-update 6 ends before anything but AR is trained" in caplog.text
    last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    assert updates_of(last) == 6 and last["extra_state"]["val_loss"] is None and "best" not in last["extra_state"]
    assert not list(tmp_path.glob("checkpoint*best*"))
    values = [json.loads(r.getMessage()) for r in caplog.records if r.name == "valid"]
    assert [value["valid_num_updates"] for value in values] == ["3", "5", "6"]
    assert all({f"valid_{name}" for name in ("loss", "nll_loss", "stream4_nll", "nar_nll")} <= v.keys() for v in values)
    best = train(toy_data, tmp_path, 9, *options)
    assert updates_of(best) == 9 and best["extra_state"]["best"] == best["extra_state"]["val_loss"]
    assert len(list(tmp_path.glob(f"checkpoint.best_{metric}_*"))) == 1
    assert "sought anew" not in caplog.text


def test_validation_compares_across_phases(toy_data, tmp_path, caplog):
    """Another --ar-updates leaves the best what it is: validation is the same."""
    first = train(toy_data, tmp_path, 9, *AR_FIRST)
    train(toy_data, tmp_path, 12, *AR_FIRST[:-1], 3, "--lr", 1e-9)
    last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["extra_state"]
    assert last["best"] <= first["extra_state"]["best"] and "sought anew" not in caplog.text


@pytest.mark.parametrize("ar_updates, reached", [(0, 6), (6, 12)])
def test_patience_begins_with_what_follows(toy_data, tmp_path, ar_updates, reached):
    """Where nothing gets better: the first value that counts, then as many as patience lasts; 5 updates an epoch."""
    options = [*AR_FIRST[:-1], ar_updates, "--patience", 2, "--lr", 0, "--stop-min-lr", -1]
    train(toy_data, tmp_path, 30, *options)
    assert updates_of(torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)) == reached


@pytest.mark.parametrize("ar_updates", [0, 10**6])
def test_plateau_waits_for_what_follows(toy_data, tmp_path, ar_updates):
    """Learning nothing, the rate falls at every epoch's end, but not in AR's phase."""
    options = [*AR_FIRST[:-1], ar_updates, "--lr-scheduler", "reduce_lr_on_plateau", "--lr-shrink", 0.1]
    base = [toy_data / "bin", "--task", "bang", "--save-dir", tmp_path, "--max-epoch", 4, *SMALL, *options]
    fairseq("train", *base, "--no-epoch-checkpoints", "--lr", 1e-30)
    schedule = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["optimizer_history"][-1]
    waits = schedule["lr_scheduler_state"]["best"] == math.inf
    assert waits == (ar_updates > 0)


def test_another_metric_begins_anew(toy_data, tmp_path, caplog):
    train(toy_data, tmp_path, 3)
    state = train(toy_data, tmp_path, 6, "--best-checkpoint-metric", "ppl")
    assert "best_checkpoint_metric was loss, is ppl" in caplog.text
    assert updates_of(state) == 6 and state["extra_state"]["best"] == state["extra_state"]["val_loss"]


def test_training_without_validation_keeps_the_best(toy_data, tmp_path, caplog):
    first = train(toy_data, tmp_path, 3)
    train(toy_data, tmp_path, 6, "--disable-validation", *ALL)
    last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["extra_state"]
    assert last["best"] == first["extra_state"]["best"] and last["objective"] == first["extra_state"]["objective"]
    assert "sought anew" not in caplog.text


def test_a_second_run_in_one_process_has_a_best_of_its_own(toy_data, tmp_path):
    """As under ``fairseq-hydra-train --multirun``; fairseq would compare with the first run's, and save none."""
    first = train(toy_data, tmp_path / "long", 12)
    second = train(toy_data, tmp_path / "short", 3)
    assert second["extra_state"]["best"] > first["extra_state"]["best"]


def test_plateau_begins_anew(toy_data, tmp_path):
    """Nor does a schedule that waits for a better loss wait for a better one than another objective's."""
    plateau = ["--lr-scheduler", "reduce_lr_on_plateau", "--lr-shrink", 0.1]
    best = []
    for updates, objective in ((12, []), (24, ALL)):
        train(toy_data, tmp_path, updates, *plateau, *objective)
        last = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["optimizer_history"][-1]
        best.append(last["lr_scheduler_state"]["best"])
    assert best[0] < best[1] < math.inf


def test_two_processes_begin_anew(toy_data, tmp_path):
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--no-epoch-checkpoints", "--batch-size", 16]
    for command in run_pair([*base, "--max-update", 3], tmp_path):
        assert command.wait() == 0, command.text
    pair = run_pair([*base, "--max-update", 6, *ALL], tmp_path)
    for command in pair:
        assert command.wait() == 0, command.text
    assert sum("sought anew" in command.text for command in pair) == 1
    assert (tmp_path / "saved" / "checkpoint_earlier_best.pt").exists()
    best = torch.load(tmp_path / "saved" / "checkpoint_best.pt", weights_only=True)
    assert updates_of(best) == 6 and best["extra_state"]["objective"]["ngram"] == 4


MAXIMIZE = "--maximize-best-checkpoint-metric"


@pytest.mark.parametrize(
    "options, message",
    [
        (["bleu", MAXIMIZE], "bleu: validation on valid logs loss, nll_loss, .*; choose one; BLEU needs --eval-bleu"),
        (["nar_bleu", MAXIMIZE, "--eval-bleu"], "nar_bleu: validation on valid logs .*bleu, ar_bleu"),
        (["nar_nll"], "nar_nll: validation on valid logs loss"),
        (["stream4_nll", "--ngram", 3], "stream4_nll: .*stream3_nll"),
        (["loss", MAXIMIZE], "loss: less is better; leave out --maximize-best-checkpoint-metric"),
        (["ppl", MAXIMIZE], "ppl: less is better"),
        (["ar_accuracy"], "ar_accuracy: more is better; add --maximize-best-checkpoint-metric"),
        (
            ["accuracy", MAXIMIZE, "--criterion", "label_smoothed_cross_entropy"],
            "accuracy: .* logs loss, nll_loss, ppl",
        ),
        (["loss", "--disable-validation", "--patience", 2], "--patience needs validation"),
        (["wps", MAXIMIZE], "wps: validation on valid logs"),
    ],
)
def test_metrics_that_cannot_be(toy_data, tmp_path, options, message):
    """Refused before the first update, whatever the criterion; nothing is saved."""
    with pytest.raises(BangError, match=message):
        train(toy_data, tmp_path, 3, "--best-checkpoint-metric", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ["accuracy", MAXIMIZE, "--criterion", "label_smoothed_cross_entropy", "--report-accuracy"],
        ["nll_loss", "--criterion", "label_smoothed_cross_entropy"],
        ["stream3_nll", "--ngram", 3, "--patience", 2],
        ["nll_loss", "--nar-ratio", 1],
    ],
)
def test_metrics_that_can_be(toy_data, tmp_path, options):
    train(toy_data, tmp_path, 3, "--best-checkpoint-metric", *options)


def test_pretraining(plain_text, tmp_path):  # noqa: F811
    base = [plain_text, "--task", "bang_pretraining", "--tokens-per-sample", 20, "--mask-block", 10, "--ngram", 3]
    base += ["--mask-ratio", 0.3, *SMALL, "--save-dir", tmp_path, "--max-update", 1, "--valid-subset", "train"]
    with pytest.raises(BangError, match="bleu: validation on train logs loss, nll_loss, .*stream3_nll"):
        fairseq("train", *base, "--best-checkpoint-metric", "bleu", MAXIMIZE)
    fairseq("train", *base, "--best-checkpoint-metric", "stream3_nll")
    assert (tmp_path / "checkpoint_best.pt").exists()
