"""What every kind of training run saved can be gone on from, fine-tuned, generated from and loaded from Python."""

import shutil

import pytest
import torch
from fairseq import checkpoint_utils

from bang_plugin.models.bang import BangModel

from .command_line import fairseq, hypotheses
from .conftest import SMALL
from .reliability.test_kill import same

KINDS = {
    "plain": [],
    "eval-bleu": ["--eval-bleu", "--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"],
    "ema": ["--store-ema"],
    "ema-fp32": ["--store-ema", "--ema-fp32"],
    "amp": ["--amp"],
    "memory-efficient-fp16": ["--memory-efficient-fp16"],
    "torch_adamw": ["--optimizer", "torch_adamw"],
    "validation-sets": ["--valid-subset", "valid,test", "--keep-best-checkpoints", 1],
}
EPOCHS = 2


def train(toy_data, save_dir, *options):
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # which fairseq keeps for the process
    base = [toy_data / "bin", "--task", "bang", *SMALL, "--dropout", 0.1, "--ngram", 2, "--nar-ratio", 0.3]
    fairseq("train", *base, "--save-dir", save_dir, *options)
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)


@pytest.fixture(scope="module", params=KINDS.items(), ids=KINDS)
def run(request, toy_data, tmp_path_factory):
    """Options of a kind, the folder that two epochs were saved in, and the last checkpoint."""
    kind, options = request.param
    folder = tmp_path_factory.mktemp(kind)
    return options, folder, train(toy_data, folder, *options, "--max-epoch", EPOCHS)


def test_resumed(run, toy_data, tmp_path):
    """With the bits that an uninterrupted run has."""
    options, folder, whole = run
    shutil.copy(folder / "checkpoint1.pt", tmp_path / "checkpoint_last.pt")
    resumed = train(toy_data, tmp_path, *options, "--max-epoch", EPOCHS)
    assert same(resumed["model"], whole["model"])
    assert same(resumed["last_optimizer_state"], whole["last_optimizer_state"])
    for name in ("ema", "ema_fp32_params", "train_iterator", "val_loss", "best"):
        assert same(resumed["extra_state"].get(name), whole["extra_state"].get(name))


def test_fine_tuned(run, toy_data, tmp_path):
    options, folder, whole = run
    start = ["--finetune-from-model", folder / "checkpoint_last.pt", "--lr", 1e-9, "--max-update", 1]
    tuned = train(toy_data, tmp_path, *options, *start)
    assert_near(tuned["model"], whole["model"])
    assert tuned["optimizer_history"][-1]["num_updates"] == 1


def test_a_moving_average_starts_from_a_checkpoint_without_one(toy_data, toy_checkpoint, tmp_path):
    start = ["--finetune-from-model", toy_checkpoint, "--lr", 1e-9, "--max-update", 1]
    tuned = train(toy_data, tmp_path, "--ngram", 1, "--store-ema", *start)
    assert_near(tuned["extra_state"]["ema"], torch.load(toy_checkpoint, weights_only=True)["model"])


def assert_near(found, expected):
    for name in expected.keys() - {"encoder.version"}:  # which fairseq does not average
        torch.testing.assert_close(found[name], expected[name], atol=1e-3, rtol=1e-3)


def test_generated_from(run, toy_data):
    _, folder, _ = run
    options = ["--path", folder / "checkpoint_best.pt", "--decoding", "nar", "--max-len-b", 10, "--cpu"]
    found = hypotheses(fairseq("generate", toy_data / "bin", "--task", "bang", *options))
    assert sorted(found) == list(range(43))


def test_loaded_from_python(run, toy_data):
    _, folder, whole = run
    hub = BangModel.from_pretrained(str(folder), "checkpoint_last.pt", data_name_or_path=toy_data / "bin")
    assert hub.models[0].num_updates == whole["optimizer_history"][-1]["num_updates"]
    assert len(hub.sample(["a b c", "h g"], decoding="nar", max_len_b=10)) == 2
