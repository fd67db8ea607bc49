"""Two processes with half the batch each train as one with the whole."""

import subprocess
import sys

import pytest
import torch

from bang_plugin.guards.launch import free_port

from .command_line import PLUGIN
from .reliability.conftest import plain_text, training  # noqa: F401
from .reliability.processes import Command
from .reliability.test_two_processes import run_pair

UPDATES = 10
# no shuffling in the first epoch, so that two batches of 8 are one of 16; Adam makes steps of the learning rate out of
# rounding errors where a gradient is exactly zero (biases of keys)
EVEN = ["--curriculum", 1, "--max-update", UPDATES, "--lr", 0.0005]
EVEN += ["--dropout", 0, "--attention-dropout", 0, "--activation-dropout", 0]


def result(folder):
    """Parameters and unrounded mean losses of a run, in training and validation."""
    checkpoint = torch.load(folder / "saved" / "checkpoint_last.pt", weights_only=True)
    assert checkpoint["optimizer_history"][-1]["num_updates"] == UPDATES
    losses = {}
    for part in ("train", "valid"):
        for _, name, _, meter in checkpoint["extra_state"]["metrics"].get(part, ()):
            if name.endswith("_loss"):
                losses[part, name] = meter["sum"] / meter["count"]
    return checkpoint["model"], losses


def train_alone(arguments, folder):
    """One process with batches of 16; its result."""
    folder.mkdir()
    options = [*arguments, *EVEN, "--batch-size", 16, "--save-dir", folder / "saved"]
    command = Command("train", *options, log=folder / "log")
    assert command.wait() == 0, command.text
    return result(folder)


def assert_same(found, expected):
    """Weights and losses of two runs."""
    assert ("train", "_streams_loss") in expected[1]
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    for name, value in expected[0].items():
        torch.testing.assert_close(found[0][name], value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("task", ["bang", "bang_pretraining"])
def test_two_processes_equal_one(training, tmp_path, task):  # noqa: F811
    ar_first = ["--ar-updates", 4] * (task == "bang")
    expected = train_alone([*training[task], *ar_first], tmp_path / "one")
    for command in run_pair([*training[task], *ar_first, *EVEN, "--batch-size", 8], tmp_path / "two"):
        assert command.wait() == 0, command.text
    assert_same(result(tmp_path / "two"), expected)
    assert (("train", "_ar_loss") in expected[1]) == (task == "bang")
    # validation too: 3 batches in one process, 5 in two
    assert (("valid", "_nar_loss") in expected[1]) == (task == "bang")


@pytest.mark.slow
def test_torchrun(training, tmp_path):  # noqa: F811
    """The same, started by torchrun itself."""
    expected = train_alone(training["bang"], tmp_path / "one")
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port(), "-m"]
    options = [*training["bang"], *EVEN, "--batch-size", 8, "--save-dir", tmp_path / "two" / "saved"]
    command = [sys.executable, *launcher, "fairseq_cli.train", *options, "--user-dir", PLUGIN]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert_same(result(tmp_path / "two"), expected)
