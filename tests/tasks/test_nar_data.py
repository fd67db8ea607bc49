"""``--nar-data``: NAR updates learn targets of their own, all others the data's."""

import pytest
import torch

from bang_plugin.errors import BangError
from tests.command_line import fairseq
from tests.conftest import SMALL, train_toy


def binarise(toy_data, folder, change):
    """Training data with the toy's sources and changed targets; returns fairseq-preprocess's folder."""
    (folder / "train.src").write_text((toy_data / "train.src").read_text())
    lines = (toy_data / "train.tgt").read_text().splitlines()
    (folder / "train.tgt").write_text("".join(f"{change(line)}\n" for line in lines))
    options = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    options += ["--srcdict", toy_data / "bin" / "dict.src.txt", "--trainpref", folder / "train"]
    fairseq("preprocess", "--task", "bang", *options, "--destdir", folder / "bin")
    return folder / "bin"


@pytest.fixture(scope="module")
def reversed_targets(toy_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reversed")
    return binarise(toy_data, folder, lambda line: " ".join(reversed(line.split())))


def parameters(checkpoint):
    return torch.load(checkpoint, weights_only=True)["model"]


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_nar_learns_them_and_ar_does_not(toy_data, reversed_targets, tmp_path):
    def trained(name, *options, data=toy_data / "bin"):
        base = [data, "--task", "bang", "--save-dir", tmp_path / name, "--max-update", 6, *SMALL]
        fairseq("train", *base, "--disable-validation", *options)
        return parameters(tmp_path / name / "checkpoint_last.pt")

    other = ["--nar-data", reversed_targets]
    nar = trained("nar", "--nar-ratio", 1)
    assert not same(nar, trained("nar other", "--nar-ratio", 1, *other))
    # the lengths are those of the toy's targets, and so the batches are
    for prefix in ("empty", "start"):
        options = ["--nar-ratio", 1, "--nar-prefix", prefix]
        expected = trained(f"reversed {prefix}", *options, data=reversed_targets)
        assert same(expected, trained(f"by option {prefix}", *options, *other))
    ar = trained("ar", "--ngram", 2)
    assert same(ar, trained("ar other", "--ngram", 2, *other))


def test_resumed_with_workers_equals_uninterrupted(toy_data, reversed_targets, tmp_path):
    options = ["--nar-data", reversed_targets, "--nar-ratio", 0.5]
    straight = parameters(train_toy(toy_data, tmp_path / "straight", 8, *options))
    train_toy(toy_data, tmp_path / "resumed", 3, *options)
    assert same(straight, parameters(train_toy(toy_data, tmp_path / "resumed", 8, *options, "--num-workers", 1)))


def test_a_longer_target_counts_for_the_batch(toy_data, tmp_path):
    longer = binarise(toy_data, tmp_path, lambda line: " ".join([line] * 6))
    options = ["--nar-data", longer, "--nar-ratio", 0.5, "--max-target-positions"]
    train_toy(toy_data, tmp_path / "room", 2, *options, 100, "--max-tokens", 100)
    with pytest.raises(BangError, match="none of its .* sentences is short enough"):
        train_toy(toy_data, tmp_path / "no room", 2, *options, 3)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: folder / "missing", "missing"),
        (lambda folder: folder, "are not the .* of the training data in their order"),
    ],
)
def test_other_sources(toy_data, tmp_path, change, message):
    shorter = tmp_path / "shorter"
    shorter.mkdir()
    for side in ("src", "tgt"):
        lines = (toy_data / f"train.{side}").read_text().splitlines(keepends=True)
        (shorter / f"train.{side}").write_text("".join(lines[:50]))
    options = ["--source-lang", "src", "--target-lang", "tgt", "--srcdict", toy_data / "bin" / "dict.src.txt"]
    options += ["--joined-dictionary", "--trainpref", shorter / "train", "--destdir", shorter / "bin"]
    fairseq("preprocess", "--task", "bang", *options)
    with pytest.raises(BangError, match=message):
        train_toy(toy_data, tmp_path / "model", 1, "--nar-ratio", 0.5, "--nar-data", change(shorter / "bin"))
