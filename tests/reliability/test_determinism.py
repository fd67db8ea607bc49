"""The same seed on the same machine gives the same weights, at one go or resumed; another seed does not."""

import pytest
import torch

from tests.command_line import fairseq

from .processes import Command
from .test_kill import same


def load(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.mark.parametrize("task", ["bang", "bang_pretraining"])
def test_seed_decides(training, tmp_path, task):
    states = []
    for run, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(run)
        folder.mkdir()
        arguments = [*training[task], "--max-update", 8, "--seed", seed, "--save-dir", folder, "--no-epoch-checkpoints"]
        command = Command("train", *arguments, log=folder / "log")
        assert command.wait() == 0, command.text
        states.append(load(folder))
    first, again, other = states
    for part in ("model", "last_optimizer_state", "optimizer_history"):
        assert same(first[part], again[part])
    assert not same(first["model"], other["model"])


@pytest.mark.parametrize("task, first, last", [("bang", 6, 8), ("bang_pretraining", 17, 19)])
def test_resuming_within_a_later_epoch(training, tmp_path, task, first, last):
    """fairseq by itself would go on with other batches."""
    for folder, stops in (("straight", [last]), ("resumed", [first, last])):
        for stop in stops:
            saving = ["--save-dir", tmp_path / folder, "--no-epoch-checkpoints"]
            fairseq("train", *training[task], *saving, "--max-update", stop)
            if stop == first:
                place = load(tmp_path / folder)["extra_state"]["train_iterator"]
                assert place["epoch"] == 2 and place["iterations_in_epoch"] > 0
    straight, resumed = load(tmp_path / "straight"), load(tmp_path / "resumed")
    for part in ("model", "last_optimizer_state"):
        assert same(straight[part], resumed[part])
