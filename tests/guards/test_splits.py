"""Shards of fairseq-generate; several validation sets; training data in parts, in folders, under another name."""

import gc
import re
import shutil

import pytest

from bang_plugin.errors import BangError
from bang_plugin.tasks.bang import BangTask
from tests.command_line import fairseq, hypotheses
from tests.conftest import SMALL, train_toy

PAIR = ["--task", "bang", "--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
BLOCKS = ["--task", "bang_pretraining", "--tokens-per-sample", 20, "--mask-block", 10, "--mask-ratio", 0.3]


def generate(toy_data, checkpoint, *options) -> str:
    return fairseq("generate", toy_data / "bin", "--task", "bang", "--path", checkpoint, "--cpu", *options)


@pytest.mark.parametrize("batch, shards", [(4, 3), (43, 5)])
def test_shards_write_every_sentence_once(toy_data, toy_checkpoint, tmp_path, batch, shards):
    """Also where there are fewer batches than shards."""
    options = ["--batch-size", batch, "--decoding", "semi_nar"]
    whole = hypotheses(generate(toy_data, toy_checkpoint, *options))
    parts = []
    for shard in range(shards):
        results = ["--num-shards", shards, "--shard-id", shard, "--results-path", tmp_path]
        generate(toy_data, toy_checkpoint, *options, *results, "--trace-file", tmp_path / "trace.jsonl")
        gc.collect()
        trace = (tmp_path / f"trace.shard{shard}-of-{shards}.jsonl").read_text()
        assert trace.count("\n") > 0
        parts.append(hypotheses((tmp_path / f"shard{shard}-of-{shards}" / "generate-test.txt").read_text()))
    assert all(parts) and sum(map(len, parts)) == 43
    assert {n: text for part in parts for n, (_, text) in part.items()} == {n: text for n, (_, text) in whole.items()}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--num-shards", 3, "--shard-id", 3], "--shard-id 3: the shards of --num-shards 3 are 0 to 2"),
        (["--num-shards", 50, "--shard-id", 49], "test: 43 sentences are too few for 50 shards"),
    ],
)
def test_shards_that_are_none(toy_data, toy_checkpoint, options, message):
    with pytest.raises(BangError, match=message):
        generate(toy_data, toy_checkpoint, *options)


def test_shards_of_other_commands_are_refused(toy_data, toy_checkpoint, tmp_path):
    with pytest.raises(BangError, match="--num-shards and --shard-id are for fairseq-generate alone"):
        train_toy(toy_data, tmp_path, 1, "--num-shards", 2)
    with pytest.raises(BangError, match="for fairseq-generate alone"):
        base = [toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu"]
        fairseq("interactive", *base, "--num-shards", 2, stdin="a b\n")


@pytest.fixture(scope="module")
def parts(toy_data, tmp_path_factory):
    """The toy data, pairs and text, in parts: ``train`` (300), ``train1`` (43), ``valid`` (40), ``valid1`` (43)."""
    folder = tmp_path_factory.mktemp("parts")
    valid = f"{toy_data / 'valid'},{toy_data / 'test'}"
    known = ["--srcdict", toy_data / "bin" / "dict.src.txt"]
    pairs, more = folder / "pairs", folder / "more"
    fairseq("preprocess", *PAIR, *known, "--trainpref", toy_data / "train", "--validpref", valid, "--destdir", pairs)
    fairseq("preprocess", *PAIR, *known, "--trainpref", toy_data / "test", "--destdir", more)
    for file in more.glob("train.*"):
        shutil.copy(file, pairs / file.name.replace("train", "train1"))
    only = ["--only-source", "--task", "bang_pretraining", "--destdir", folder / "text"]
    sides = [f"{toy_data / 'valid'}.src,{toy_data / 'test'}.src"]
    fairseq("preprocess", *only, "--trainpref", toy_data / "train.src", "--validpref", *sides)
    return folder


def train(data, *options):
    task = [] if "--task" in options else ["--task", "bang"]
    folder = str(data).partition(":")[0]
    fairseq("train", data, *task, *SMALL, "--max-update", 1, "--no-save", "--save-dir", folder, *options)


def loaded(caplog) -> dict[str, int]:
    """Examples that fairseq says it loaded, by split."""
    found = re.findall(r"loaded ([\d,]+) examples from: \S*/(\w+)", caplog.text)
    return {split: int(count) for count, split in found}


@pytest.mark.parametrize("options, size", [([], 343), (["--upsample-primary", 2], 643)])
def test_training_data_in_parts(parts, monkeypatch, options, size):
    sizes = []
    original = BangTask.load_dataset

    def load_dataset(self, split, *args, **kwargs):
        original(self, split, *args, **kwargs)
        sizes.append((split, len(self.datasets[split])))

    monkeypatch.setattr(BangTask, "load_dataset", load_dataset)
    train(parts / "pairs", "--disable-validation", *options)
    assert sizes == [("train", size)]
    sizes.clear()
    train(parts / "pairs", "--train-subset", "train1", "--valid-subset", "valid,valid1")  # and none of them is combined
    assert sizes == [("valid", 40), ("valid1", 43), ("train1", 43)]
    with pytest.raises(BangError, match="--upsample-primary 0: train is repeated so often, 1 time at least"):
        train(parts / "pairs", "--upsample-primary", 0)


@pytest.mark.parametrize("kind", ["pairs", "text"])
def test_validation_sets(parts, kind, caplog):
    caplog.set_level("INFO")
    blocks = BLOCKS if kind == "text" else []

    def validated(*options):
        caplog.clear()
        train(parts / kind, *blocks, *options)
        return set(re.findall(r'begin validation on "(\w+)" subset', caplog.text))

    assert validated("--valid-subset", "valid,valid1") == {"valid", "valid1"}
    assert validated("--ignore-unused-valid-subsets") == {"valid"}
    assert validated("--combine-val") == {"valid"}
    assert {split: loaded(caplog)[split] for split in ("valid", "valid1")} == {"valid": 40, "valid1": 43}
    with pytest.raises(BangError, match="Valid paths ..valid1.. will be ignored.* --valid-subset valid,valid1"):
        validated()
    with pytest.raises(BangError, match="--combine-val makes one set.*leave out --valid-subset valid,valid1"):
        validated("--combine-val", "--valid-subset", "valid,valid1")
    with pytest.raises(BangError, match="valid2"):
        validated("--valid-subset", "valid,valid1,valid2")


@pytest.mark.parametrize("kind", ["pairs", "text"])
def test_folders_are_checked_before_the_first_epoch(parts, tmp_path, kind):
    """All of them, though only the first is read in it."""
    blocks, whole = BLOCKS if kind == "text" else [], shutil.copytree(parts / kind, tmp_path / "whole")
    train(f"{parts / kind}:{whole}", *blocks, "--disable-validation")
    with pytest.raises(BangError, match="nowhere/train.*: no such data; training goes through all folders"):
        train(f"{whole}:{tmp_path / 'nowhere'}", *blocks, "--disable-validation")
    with pytest.raises(BangError, match="nowhere: No such file or directory"):
        train(f"{whole}:{tmp_path / 'nowhere'}", *blocks)
    other = shutil.copytree(whole, tmp_path / "other")
    for note in other.glob("*.json"):
        note.write_text(re.sub(r'"sha256": "\w+"', '"sha256": "0"', note.read_text()))
    with pytest.raises(BangError, match="other/train.*binarised with another dictionary"):
        train(f"{whole}:{other}", *blocks, "--disable-validation")


def test_lengths_of_validation(parts):
    """What is too long there is named or skipped; the limits of its batches are its own."""
    options = ["--ignore-unused-valid-subsets", "--max-source-positions", 8]
    with pytest.raises(BangError, match=r"line \d+: .* tokens \(source, target\) are more than"):
        train(parts / "pairs", *options)
    train(parts / "pairs", *options, "--skip-invalid-size-inputs-valid-test")
    train(parts / "pairs", "--ignore-unused-valid-subsets", "--max-tokens-valid", 20, "--batch-size-valid", 3)
    with pytest.raises(BangError, match="max_tokens=4: raise --max-tokens"):
        train(parts / "pairs", "--ignore-unused-valid-subsets", "--max-tokens-valid", 4)
