"""The same seed on the same machine gives the same weights; another seed does not."""

import pytest
import torch

from .processes import Command
from .test_kill import same


@pytest.mark.parametrize("task", ["bang", "bang_pretraining"])
def test_seed_decides(training, tmp_path, task):
    states = []
    for run, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(run)
        folder.mkdir()
        arguments = [*training[task], "--max-update", 8, "--seed", seed, "--save-dir", folder, "--no-epoch-checkpoints"]
        command = Command("train", *arguments, log=folder / "log")
        assert command.wait() == 0, command.text
        states.append(torch.load(folder / "checkpoint_last.pt", weights_only=True))
    first, again, other = states
    for part in ("model", "last_optimizer_state", "optimizer_history"):
        assert same(first[part], again[part])
    assert not same(first["model"], other["model"])
