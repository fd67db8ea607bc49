"""Two processes with half the batch each train as one with the whole."""

import pytest
import torch

from .reliability.conftest import plain_text, training  # noqa: F401
from .reliability.processes import Command
from .reliability.test_two_processes import run_pair

UPDATES = 10
# no shuffling in the first epoch, so that two batches of 8 are one of 16; Adam makes steps of the learning rate out of
# rounding errors where a gradient is exactly zero (biases of keys)
EVEN = ["--curriculum", 1, "--max-update", UPDATES, "--lr", 0.0005]
EVEN += ["--dropout", 0, "--attention-dropout", 0, "--activation-dropout", 0]


def result(folder):
    """Parameters and unrounded mean loss of a run."""
    checkpoint = torch.load(folder / "saved" / "checkpoint_last.pt", weights_only=True)
    assert checkpoint["optimizer_history"][-1]["num_updates"] == UPDATES
    meters = {name: state for _, name, _, state in checkpoint["extra_state"]["metrics"]["train"]}
    return checkpoint["model"], meters["loss"]["sum"] / meters["loss"]["count"]


@pytest.mark.parametrize("task", ["bang", "bang_pretraining"])
def test_two_processes_equal_one(training, tmp_path, task):  # noqa: F811
    (tmp_path / "one").mkdir()
    saving = ["--save-dir", tmp_path / "one" / "saved"]
    one = Command("train", *training[task], *EVEN, "--batch-size", 16, *saving, log=tmp_path / "one" / "log")
    assert one.wait() == 0, one.text
    for command in run_pair([*training[task], *EVEN, "--batch-size", 8], tmp_path / "two"):
        assert command.wait() == 0, command.text
    (expected, expected_loss), (found, loss) = result(tmp_path / "one"), result(tmp_path / "two")
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)
