"""Where training starts from: files that are missing, of another dictionary, or needed no longer."""

import shutil

import pytest
import torch

from bang_plugin.errors import BangError, find
from tests.command_line import fairseq
from tests.conftest import train_toy

STARTS = ["--finetune-from-model", "--load-from-pretrained-model", "--restore-file", "--continue-once"]


@pytest.fixture(scope="module")
def other_data(toy_data, tmp_path_factory):
    """The toy data under a dictionary of the same size in another order."""
    folder = tmp_path_factory.mktemp("other_dictionary")
    symbols = (toy_data / "bin" / "dict.src.txt").read_text().splitlines()
    (folder / "dict.txt").write_text("\n".join(symbols[::-1]) + "\n")
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary", "--srcdict", folder / "dict.txt"]
    texts = ["--trainpref", toy_data / "train", "--testpref", toy_data / "test", "--destdir", folder / "bin"]
    fairseq("preprocess", "--task", "bang", *pair, *texts)
    return folder


@pytest.mark.parametrize("option", STARTS)
def test_another_dictionary_of_the_same_size(other_data, toy_checkpoint, tmp_path, option):
    with pytest.raises(BangError, match=f"{toy_checkpoint}: trained with another dictionary"):
        train_toy(other_data, tmp_path, 200, option, toy_checkpoint)
    assert not any(tmp_path.glob("*.pt"))


def test_resuming_with_another_dictionary(other_data, toy_checkpoint, tmp_path):
    shutil.copy(toy_checkpoint, tmp_path)
    with pytest.raises(BangError, match="checkpoint_last.pt: trained with another dictionary"):
        train_toy(other_data, tmp_path, 200)


@pytest.mark.parametrize("option", STARTS)
def test_a_named_file_must_be_there(toy_data, tmp_path, option):
    with pytest.raises(BangError, match="nowhere.pt: [Nn]o such") as caught:
        train_toy(toy_data, tmp_path, 1, option, tmp_path / "nowhere.pt")
    assert "\n" not in str(caught.value) and not any(tmp_path.glob("*.pt"))


@pytest.mark.parametrize("option", [o for o in STARTS if o != "--restore-file"])
def test_resuming_needs_the_first_file_no_longer(toy_data, toy_checkpoint, tmp_path, option):
    first = shutil.copy(toy_checkpoint, tmp_path / "first.pt")
    before = train_toy(toy_data, tmp_path / "saved", 1, option, first)
    (tmp_path / "first.pt").unlink()
    shutil.copy(before, tmp_path / "before.pt")
    after = train_toy(toy_data, tmp_path / "saved", 2, option, first)
    first, second = (torch.load(file, weights_only=True) for file in (tmp_path / "before.pt", after))
    assert second["optimizer_history"][-1]["num_updates"] == first["optimizer_history"][-1]["num_updates"] + 1
    name = "encoder.layers.0.fc1.weight"
    torch.testing.assert_close(first["model"][name], second["model"][name], atol=0.02, rtol=0)


def test_asynchronous_writing_is_refused(toy_data, tmp_path):
    with pytest.raises(BangError, match="--write-checkpoints-asynchronously: refused"):
        train_toy(toy_data, tmp_path, 1, "--write-checkpoints-asynchronously")


def test_python_m_is_training_too():
    from bang_plugin.guards.resuming import is_training

    train = {"__spec__": type("Spec", (), {"name": "fairseq_cli.train"})}
    exec("def main(cfg): pass", train)
    assert is_training(train["main"]) and not is_training(find)
