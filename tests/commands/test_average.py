"""``bang average``: means by hand, files by age and by metric, and a checkpoint that fairseq reads."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from fairseq import checkpoint_utils

from bang_plugin.__main__ import main
from bang_plugin.models.bang import BangModel
from tests.command_line import fairseq, hypotheses
from tests.conftest import SMALL
from tests.test_checkpoints import Payload

DICTIONARY = {"types": 5, "sha256": "abc"}


def average(*arguments) -> dict:
    main(["average", *map(str, arguments)])
    return torch.load(arguments[list(arguments).index("--output") + 1], weights_only=True)


def save(path, weights, updates=0, loss=None, metric="loss", best_is_most=False, dictionary=DICTIONARY, **parts):
    weight = torch.tensor(weights)
    options = {"best_checkpoint_metric": metric, "maximize_best_checkpoint_metric": best_is_most}
    state = {
        "args": None,
        "cfg": {"checkpoint": options, "saved": path.name},
        "model": {"a": weight, "shared": weight, "half": weight.half(), "version": torch.tensor([updates])},
        "optimizer_history": [{"num_updates": updates}],
        "task_state": {"dictionary": dictionary},
        "last_optimizer_state": {"large": weight},
        "extra_state": {"val_loss": loss, "ema": {}, "train_iterator": {"epoch": updates}},
        **parts,
    }
    torch.save(state, path)
    return path


def test_means_by_hand(tmp_path):
    files = [save(tmp_path / f"{i}.pt", w, i) for i, w in enumerate([[1.0, 2.0], [3.0, 4.0], [8.0, -3.0]])]
    state = average(files[1], files[2], files[0], "--output", tmp_path / "mean.pt")
    model = state["model"]
    assert torch.equal(model["a"], torch.tensor([4.0, 1.0])) and model["a"].data_ptr() == model["shared"].data_ptr()
    assert torch.equal(model["half"], torch.tensor([4.0, 1.0]).half())
    # all else is the newest's, whatever the order
    assert model["version"].item() == 2 and state["cfg"]["saved"] == "2.pt"
    assert state["optimizer_history"] == [{"num_updates": 2}] and state["task_state"]["dictionary"] == DICTIONARY
    assert state["extra_state"] == {"averaged": ["1.pt", "2.pt", "0.pt"], "train_iterator": {"epoch": 2}}
    assert "last_optimizer_state" not in state
    assert os.listdir(tmp_path).count("mean.pt.tmp") == 0


def test_many_small_terms_do_not_get_lost(tmp_path):
    """A sum in half precision stops at 2,048 + 1."""
    files = [save(tmp_path / f"{i}.pt", [2000.0 + i]) for i in range(5)]
    assert average(*files, "--output", tmp_path / "mean.pt")["model"]["half"].item() == 2002


@pytest.fixture
def folder(tmp_path):
    """Five epochs of [1] … [5], updates 10 … 50, of losses 5, 1, 3, 2, 4; copies under fairseq's other names."""
    folder = tmp_path / "saved"
    folder.mkdir()
    for epoch, loss in enumerate([5.0, 1.0, 3.0, 2.0, 4.0], start=1):
        save(folder / f"checkpoint{epoch}.pt", [float(epoch)], 10 * epoch, loss)
        save(folder / f"checkpoint_{epoch}_{10 * epoch - 5}.pt", [epoch - 0.5], 10 * epoch - 5)
    shutil.copy(folder / "checkpoint2.pt", folder / "checkpoint_best.pt")
    shutil.copy(folder / "checkpoint2.pt", folder / "checkpoint.best_loss_1.0000.pt")
    shutil.copy(folder / "checkpoint5.pt", folder / "checkpoint_last.pt")
    os.rename(folder / "checkpoint5.pt", folder / "checkpoint10.pt")  # by number, not by spelling
    return folder


@pytest.mark.parametrize(
    "which, mean",
    [
        (["--last-epochs", 2], 4.5),
        (["--last-updates", 3], 3.5),
        (["--best", 3], 3.0),
        (["--best", 2, "--metric", "loss"], 3.0),
    ],
)
def test_choosing_from_a_folder(folder, which, mean):
    assert average(folder, *which, "--output", folder / "mean.pt")["model"]["a"].item() == mean


def test_the_best_may_be_the_greatest(tmp_path):
    for i, score in enumerate([20.0, 30.0, 25.0]):
        save(tmp_path / f"checkpoint{i}.pt", [float(i)], i, score, "bleu", True)
    arguments = [tmp_path, "--best", 2, "--metric", "bleu", "--output", tmp_path / "mean.pt"]
    assert average(*arguments)["model"]["a"].item() == 1.5


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["checkpoint1.pt"], "checkpoint1.pt: an average needs two checkpoints or more"),
        (["checkpoint1.pt", "./checkpoint1.pt"], "checkpoint1.pt: given twice"),
        (["checkpoint1.pt", "none.pt"], "none.pt: no such checkpoint"),
        (["."], "--last-epochs, --last-updates or --best"),
        ([".", "--last-epochs", 9], "--last-epochs 9: . has only 5"),
        ([".", "--last-epochs", 1], "needs two"),
        ([".", "--best", 9], "--best 9: . has only 5"),
        ([".", "--best", 2, "--metric", "bleu"], "--metric bleu: . was trained with --best-checkpoint-metric loss"),
        ([".", "--last-epochs", 2, "--metric", "bleu"], "--metric needs --best"),
        (["checkpoint1.pt", "checkpoint2.pt", "--last-epochs", 2], "--last-epochs 2 needs one folder"),
        (["checkpoint1.pt", "wider.pt"], "wider.pt: 3 parameters are not those of checkpoint1.pt .first: a, "),
        (["checkpoint1.pt", "foreign.pt"], "foreign.pt: trained with another dictionary than checkpoint1.pt"),
        (["checkpoint1.pt", "cut.pt"], "cut.pt: not a whole checkpoint"),
        (["checkpoint1.pt", "code.pt"], "code.pt: refused, because loading it could run code"),
        (["checkpoint1.pt", "checkpoint2.pt", "--output", "checkpoint2.pt"], "is one of the checkpoints to average"),
        (["checkpoint1.pt", "checkpoint2.pt", "--output", "no/folder.pt"], "no/folder.pt: not saved: No such file"),
    ],
)
def test_what_cannot_be_averaged(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    save(folder / "wider.pt", [1.0, 2.0])
    save(folder / "foreign.pt", [1.0], dictionary={"types": 5, "sha256": "def"})
    save(folder / "code.pt", [1.0], more=Payload(folder / "ran"))
    (folder / "cut.pt").write_bytes((folder / "checkpoint1.pt").read_bytes()[:-100])
    before = sorted(os.listdir(folder))
    with pytest.raises(SystemExit, match=message):
        main(["average", "--output", "mean.pt", *map(str, arguments)])
    assert sorted(os.listdir(folder)) == before


def test_generating_from_an_average(toy_data, tmp_path):
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--save-dir", tmp_path / "saved", "--max-epoch", 3]
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # which fairseq keeps for the process
    fairseq("train", *base)
    state = average(tmp_path / "saved", "--last-epochs", 3, "--output", tmp_path / "average.pt")
    parts = [torch.load(tmp_path / "saved" / f"checkpoint{i}.pt", weights_only=True)["model"] for i in (1, 2, 3)]
    for name, value in state["model"].items():
        torch.testing.assert_close(value, torch.stack([part[name] for part in parts]).float().mean(0).to(value.dtype))
    size = os.path.getsize
    assert size(tmp_path / "average.pt") < size(tmp_path / "saved" / "checkpoint3.pt") / 2  # no optimizer
    options = ["--path", tmp_path / "average.pt", "--decoding", "nar", "--max-len-b", 10, "--cpu"]
    found = hypotheses(fairseq("generate", toy_data / "bin", "--task", "bang", *options))
    hub = BangModel.from_pretrained(str(tmp_path), "average.pt", data_name_or_path=toy_data / "bin")
    lines = (toy_data / "test.src").read_text().splitlines()
    assert hub.sample(lines, decoding="nar", max_len_b=10) == [found[i][1] for i in range(len(lines))]
    tuned = ["--finetune-from-model", tmp_path / "average.pt", "--save-dir", tmp_path / "tuned", "--max-update", 1]
    fairseq("train", *base, *tuned)
    assert (tmp_path / "tuned" / "checkpoint_last.pt").exists()


def test_as_a_program(tmp_path):
    """One line and exit status 1, as any command."""
    command = [sys.executable, "-m", "bang_plugin", "average", str(tmp_path / "none.pt"), "--output", "x.pt"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.splitlines()[-1] == f"error: {tmp_path / 'none.pt'}: no such checkpoint"
