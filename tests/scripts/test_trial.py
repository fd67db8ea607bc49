"""A trial: one training and its scores as one record, interrupted and taken up again."""

import json
import shutil
import sys

import pytest

from scripts import trial
from tests.conftest import SMALL


def run(monkeypatch, toy_data, folder, updates, *options):
    own = ["--name", "toy", "--seed", 3, "--data", toy_data / "bin", "--references", toy_data / "test.tgt"]
    own += ["--metric", "per", "--work", folder / "work", "--output", folder / "records"]
    own += ["--decodings", "greedy,semi2,nar"]
    command = ["trial", *own, "--", "--task", "bang", "--user-dir", "bang_plugin", "--max-update", updates, *SMALL]
    monkeypatch.setattr(sys, "argv", list(map(str, [*command, *options])))
    trial.main()
    return json.loads((folder / "records" / "toy-s3.json").read_text())


def test_one_record(monkeypatch, toy_data, toy_checkpoint, tmp_path):
    first = tmp_path / "work" / "before" / "checkpoint_last.pt"
    first.parent.mkdir(parents=True)
    shutil.copy(toy_checkpoint, first)
    start = ["--load-from-pretrained-model", first, "--nar-ratio", 0.5]
    record = run(monkeypatch, toy_data, tmp_path, 3, *start)
    assert "--load-from-pretrained-model before/checkpoint_last.pt" in record["command"]
    assert (record["name"], record["seed"]) == ("toy", 3) and record["command"].endswith("--nar-ratio 0.5 --seed 3")
    assert 0 < record["minutes"] < 5 and record["machine"]["torch"]
    assert list(record["scores"]) == ["AR, greedy", "semi-NAR, K=2", "NAR"]
    assert record["scores"]["NAR"]["passes"] == 1 < record["scores"]["AR, greedy"]["passes"]
    assert len((tmp_path / "work" / "toy-s3" / "nar.txt").read_text().splitlines()) == record["sentences"]
    log = (tmp_path / "work" / "toy-s3" / "train.log").read_text()
    assert run(monkeypatch, toy_data, tmp_path, 3, *start) == record  # nothing is trained again
    assert (tmp_path / "work" / "toy-s3" / "train.log").read_text() == log


def test_time_of_an_interrupted_training_counts(monkeypatch, toy_data, tmp_path):
    with pytest.raises(SystemExit, match=r"fairseq-train failed: .*train.log"):
        run(monkeypatch, toy_data, tmp_path, 3, "--nar-ratio", 2)
    spent = json.loads((tmp_path / "work" / "toy-s3" / "spent.json").read_text())
    assert spent > 0
    assert run(monkeypatch, toy_data, tmp_path, 3)["minutes"] >= round(spent / 60, 2)


@pytest.mark.slow
def test_fairseqs_own_model(monkeypatch, toy_data, tmp_path):
    own = ["--arch", "transformer", "--criterion", "cross_entropy", "--share-all-embeddings"]
    monkeypatch.setattr(trial, "modes", lambda args, modes=trial.modes: modes(args)[:1])
    record = run(monkeypatch, toy_data, tmp_path, 2, *own)
    assert list(record["scores"]) == ["AR, greedy"]
