"""A disk that is full, or a folder that cannot be written to: one line, and what was saved before is still there."""

import os
import re

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from bang_plugin.errors import BangError
from bang_plugin.guards.saving import whole_file
from tests.conftest import train_toy

from .processes import Command


def contents(folder) -> dict:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_training_on_a_full_disk(training, tmp_path):
    """The limit strikes in the first file of the second save, fairseq's copy of it, or neither."""
    saved = tmp_path / "saved"
    saving = ["--save-dir", saved, "--save-interval-updates", 1]
    command = Command("train", *training["bang"], *saving, "--max-update", 1, log=tmp_path / "log")
    assert command.wait() == 0, command.text
    before = contents(saved)
    size = len(before["checkpoint_last.pt"])
    goes_on = [*training["bang"], *saving, "--max-update", 2]
    command = Command("train", *goes_on, log=tmp_path / "log", size_limit=size // 2)
    assert command.wait() == 1
    assert "Traceback" not in command.text
    assert command.text.splitlines()[-1] == (
        f"error: {saved}/checkpoint_1_2.pt: not saved: File too large; the checkpoints saved before are whole"
    )
    assert contents(saved) == before
    command = Command("train", *goes_on, log=tmp_path / "log", size_limit=2 * size)
    assert command.wait() == 0, command.text
    assert re.search(r"Loaded checkpoint .*checkpoint_last.pt \(epoch 1 @ 1 updates\)", command.text)


@pytest.fixture
def full_disk(tmp_path):
    """A checkpoint on a disk without room for another; saving writes to /dev/full."""
    path = tmp_path / "checkpoint_last.pt"
    path.write_bytes(b"whole")
    os.symlink("/dev/full", f"{path}.tmp")
    return path


def test_no_space_for_a_new_checkpoint(full_disk):
    with pytest.raises(BangError, match="checkpoint_last.pt: not saved: No space left on device"):
        checkpoint_utils.torch_persistent_save({"model": torch.zeros(10000)}, str(full_disk))
    assert contents(full_disk.parent) == {"checkpoint_last.pt": b"whole"}


def test_no_space_for_the_copy(full_disk, tmp_path_factory):
    new = tmp_path_factory.mktemp("elsewhere") / "checkpoint_1_2.pt"
    new.write_bytes(b"new" * 10000)
    with pytest.raises(BangError, match="checkpoint_last.pt: not saved: No space left on device"):
        PathManager.copy(str(new), str(full_disk), overwrite=True)
    assert contents(full_disk.parent) == {"checkpoint_last.pt": b"whole"}


def test_what_is_saved_is_what_was_to_be_saved(tmp_path):
    path = str(tmp_path / "a.pt")
    for value in (1.0, 2.0):
        checkpoint_utils.torch_persistent_save({"x": torch.full((3,), value)}, path)
        assert torch.load(path)["x"].tolist() == [value] * 3
    PathManager.copy(path, str(tmp_path / "b.pt"), overwrite=True)
    files = contents(tmp_path)
    assert files.keys() == {"a.pt", "b.pt"} and files["a.pt"] == files["b.pt"]


def test_other_errors_pass_and_leave_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(str(tmp_path / "a.pt")) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert contents(tmp_path) == {}


def test_leftovers_of_killed_runs_are_removed(toy_data, tmp_path, caplog):
    (tmp_path / "checkpoint_1_7.pt.tmp").write_bytes(b"half")
    train_toy(toy_data, tmp_path, 1)
    assert "checkpoint_1_7.pt.tmp: removed, an earlier run ended while writing it" in caplog.text
    assert not list(tmp_path.glob("*.tmp"))


def test_folder_that_cannot_be_written_to(toy_data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BangError, match=r"--save-dir \S+/file: Not a directory"):
        train_toy(toy_data, tmp_path / "file", 1)
