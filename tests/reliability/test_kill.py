"""``kill -9`` at any moment: nothing half-written is loaded, and resuming equals never having been killed."""

import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from bang_plugin.checkpoints.integrity import check_whole

from .processes import Command

KILLS = 20
AFTER_THE_LAST = 3  # updates


def same(a, b) -> bool:
    """Bit for bit, whatever a checkpoint is made of."""
    if torch.is_tensor(a):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def load_all(folder: Path) -> dict:
    """All files there with a checkpoint's name, each checked to be whole."""
    files = sorted(folder.glob("*.pt"))
    for file in files:
        check_whole(str(file))
    return {file.name: torch.load(file, weights_only=True) for file in files}


def updates(checkpoint: dict) -> int:
    return checkpoint["optimizer_history"][-1]["num_updates"]


def train(arguments, folder, last_update, **options) -> Command:
    often = ["--save-interval-updates", 1, "--keep-interval-updates", 2, "--no-epoch-checkpoints"]
    saving = ["--save-dir", folder / "saved", *often, "--max-update", last_update]
    return Command("train", *arguments, *saving, log=folder / "log", **options)


def finish(arguments, folder, last_update) -> dict:
    command = train(arguments, folder, last_update)
    assert command.wait() == 0, command.text
    return load_all(folder / "saved")["checkpoint_last.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["bang", "bang_pretraining"])
def test_killed_training_resumes_bit_for_bit(training, tmp_path, task):
    """Every other kill strikes in the midst of writing a checkpoint, after a random number of its bytes."""
    draw = random.Random(task)
    killed = tmp_path / "killed"
    killed.mkdir()
    saved_updates, size, half_written = 0, None, 0
    for kill in range(KILLS):
        in_writing = size is not None and kill % 2 == 1
        command = train(training[task], killed, 10**6, die_when_full=in_writing)
        # every fifth time it has not even begun
        command.wait_for("Preparing to load checkpoint" if kill % 5 == 4 else "begin training epoch")
        time.sleep(draw.uniform(0, 0.5))
        if in_writing:
            command.limit_file_size(draw.randrange(size // 10, size - 1000))
        else:
            command.kill()
        assert command.wait() == (-signal.SIGXFSZ if in_writing else -signal.SIGKILL)
        resumed = re.search(r"Loaded checkpoint .* @ (\d+) updates", command.text)
        if resumed:
            assert int(resumed[1]) == saved_updates
        checkpoints = load_all(killed / "saved")
        half_written += any((killed / "saved").glob("*.tmp"))
        if "checkpoint_last.pt" in checkpoints:
            assert updates(checkpoints["checkpoint_last.pt"]) >= saved_updates
            saved_updates = updates(checkpoints["checkpoint_last.pt"])
            size = (killed / "saved" / "checkpoint_last.pt").stat().st_size
    assert half_written >= KILLS // 2 - 1
    assert saved_updates > 0
    resumed = finish(training[task], killed, saved_updates + AFTER_THE_LAST)
    assert not list((killed / "saved").glob("*.tmp"))
    straight = tmp_path / "straight"
    straight.mkdir()
    straight = finish(training[task], straight, saved_updates + AFTER_THE_LAST)
    assert updates(straight) == saved_updates + AFTER_THE_LAST
    for part in ("model", "last_optimizer_state"):
        assert same(resumed[part], straight[part])
    assert resumed["optimizer_history"][-1] == straight["optimizer_history"][-1]  # fairseq adds one every start
    assert same(resumed["extra_state"]["train_iterator"], straight["extra_state"]["train_iterator"])
