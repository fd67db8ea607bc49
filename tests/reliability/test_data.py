"""Data that does not belong to its dictionary, or source that does not belong to its target."""

import shutil

import numpy as np
import pytest
import torch
from fairseq.data import data_utils
from fairseq.data.indexed_dataset import MMapIndexedDatasetBuilder

from bang_plugin.errors import BangError
from bang_plugin.guards import table
from bang_plugin.guards.binarised import note_path
from tests.command_line import fairseq
from tests.conftest import SMALL, train_toy


@pytest.fixture
def data(toy_data, tmp_path):
    """A copy of the toy data, to be spoilt."""
    shutil.copytree(toy_data / "bin", tmp_path / "toy" / "bin")
    return tmp_path / "toy"


@pytest.fixture
def text(plain_text, tmp_path):
    """A copy of the text to pretrain on."""
    return shutil.copytree(plain_text, tmp_path / "text")


def write_dictionaries(folder, change) -> None:
    for path in folder.glob("dict.*txt"):
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def forget_notes(folder) -> None:
    """As if the data had been binarised without this plugin."""
    for path in folder.glob(note_path("*")):
        path.unlink()


def pretrain(folder, save_dir, *options) -> None:
    blocks = ["--tokens-per-sample", 20, "--mask-block", 10, "--mask-ratio", 0.3]
    base = [folder, "--task", "bang_pretraining", "--save-dir", save_dir, "--max-update", 1, "--disable-validation"]
    fairseq("train", *base, *SMALL, *blocks, *options)


CHANGES = {
    "reordered": lambda lines: lines[::-1],
    "two swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
    "missing": lambda lines: lines[:-5],
    "added": lambda lines: [*lines, "new 1\n"],
    "renamed": lambda lines: ["new 1\n", *lines[1:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_dictionary_replaced_after_binarising(data, tmp_path, change):
    write_dictionaries(data / "bin", CHANGES[change])
    with pytest.raises(BangError, match=r"train.src-tgt.src.bin: binarised with another dictionary \(24 types"):
        train_toy(data, tmp_path / "save", 1)
    assert not list((tmp_path / "save").glob("*.pt"))


@pytest.mark.parametrize("change", ["two swapped", "added"])
def test_dictionary_of_pretraining_replaced(text, tmp_path, change):
    write_dictionaries(text, CHANGES[change])
    with pytest.raises(BangError, match=r"train.bin: binarised with another dictionary \(17 types"):
        pretrain(text, tmp_path / "save")


def test_tokens_that_the_dictionary_does_not_have(data, text, tmp_path):
    """Found even in data that was binarised elsewhere and tells nothing."""
    for folder in (data / "bin", text):
        forget_notes(folder)
    write_dictionaries(data / "bin", CHANGES["missing"])
    with pytest.raises(BangError, match="holds token [0-9]+, but the dictionary has only 19 types"):
        train_toy(data, tmp_path / "save", 1)
    write_dictionaries(text, lambda lines: [*lines[:4], "<mask> 1\n"])
    with pytest.raises(BangError, match="train.bin: holds token 11, but the dictionary has only 9 types"):
        pretrain(text, tmp_path / "save")


def test_data_without_notes_trains_the_same(data, toy_data, tmp_path):
    forget_notes(data / "bin")
    ours, theirs = train_toy(toy_data, tmp_path / "a", 2), train_toy(data, tmp_path / "b", 2)
    ours, theirs = (torch.load(path, weights_only=True)["model"] for path in (ours, theirs))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_note_about_other_bytes_is_ignored(data, tmp_path):
    """Of an older file that another binarising replaced; the same for a note that is no note."""
    for path in (data / "bin").glob(note_path("*")):
        path.write_text('{"sha256": "0", "types": 3, "bytes": 5}\n' if "src.src" in path.name else "no note")
    train_toy(data, tmp_path / "save", 1)


@pytest.mark.parametrize("name", ["train.src-tgt.src.bin", "train.src-tgt.tgt.bin", "train.src-tgt.src.idx"])
@pytest.mark.parametrize("keep", [0, 20, 0.5, -1])
def test_data_cut_short(data, tmp_path, name, keep):
    path = data / "bin" / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    with pytest.raises(BangError, match=name.rsplit(".", 1)[0]) as caught:
        train_toy(data, tmp_path / "save", 1)
    assert "\n" not in str(caught.value)


def binarise(folder, source: str, target: str, *options):
    (folder / "train.src").write_text(source)
    (folder / "train.tgt").write_text(target)
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    files = ["--trainpref", folder / "train", "--destdir", folder / "bin"]
    fairseq("preprocess", "--task", "bang", *pair, *files, *options)


def test_sides_of_different_lengths(tmp_path):
    binarise(tmp_path, "a\nb\nc\n", "a\nb\n")
    with pytest.raises(BangError, match="train: Source and target must contain the same number of examples"):
        train_toy(tmp_path, tmp_path / "save", 1)


def test_a_line_without_an_end_symbol(tmp_path):
    """fairseq-preprocess always adds one; other programs may not."""
    binarise(tmp_path, "a\nb\nc\n", "a\nb\nc\n")
    prefix = str(tmp_path / "bin" / "train.src-tgt.tgt")
    builder = MMapIndexedDatasetBuilder(f"{prefix}.bin", np.uint16)
    for row in ([4, 2], [], [5, 2]):
        builder.add_item(torch.tensor(row, dtype=torch.int32))
    builder.finalize(f"{prefix}.idx")
    with pytest.raises(BangError, match="train: line 2 has not even an end symbol"):
        train_toy(tmp_path, tmp_path / "save", 1)


@pytest.mark.parametrize(
    "lines, message",
    [
        (["a 1", "b 1", "a 1"], "Duplicate"),
        (["a 1", "b"], "Incorrect dictionary format"),
        (["[PAD] 1", "[UNK] 1", "[SEP] 1", "a 1"], r"needs \[CLS\], \[MASK\]"),
    ],
)
def test_dictionary_that_is_none(data, tmp_path, lines, message):
    write_dictionaries(data / "bin", lambda _: [line + "\n" for line in lines])
    with pytest.raises(BangError, match=message):
        train_toy(data, tmp_path / "save", 1)


@pytest.fixture(scope="module")
def older(toy_data, tmp_path_factory):
    """The toy data in fairseq's older format."""
    folder = tmp_path_factory.mktemp("older")
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--srcdict", toy_data / "bin" / "dict.src.txt"]
    files = ["--trainpref", toy_data / "train", "--validpref", toy_data / "valid", "--destdir", folder / "bin"]
    fairseq("preprocess", "--task", "bang", *pair, "--joined-dictionary", *files, "--dataset-impl", "lazy")
    return folder


@pytest.mark.parametrize("impl", [[], ["--dataset-impl", "lazy"], ["--dataset-impl", "cached"]])
@pytest.mark.parametrize("workers", [0, 3])
def test_the_older_format_trains_the_same(toy_data, older, tmp_path, impl, workers):
    """Three processes do not disturb each other's reading."""
    ours = train_toy(toy_data, tmp_path / "a", 12)
    theirs = train_toy(older, tmp_path / "b", 12, *impl, "--num-workers", workers)
    ours, theirs = (torch.load(path, weights_only=True)["model"] for path in (ours, theirs))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_processes_read_the_older_format_each_for_itself(older):
    """fairseq's own has them share one open file, and so the place to read at."""
    table.install()
    prefix = str(older / "bin" / "train.src-tgt.src")
    for impl in ("lazy", "cached"):
        dataset = data_utils.load_indexed_dataset(prefix, dataset_impl=impl)
        expected = [dataset[index].tolist() for index in range(len(dataset))]
        loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=3)
        assert [row.tolist() for row in loader] == expected


@pytest.mark.parametrize("name", ["train.src-tgt.src.bin", "train.src-tgt.tgt.idx"])
def test_the_older_format_cut_short_or_foreign(older, tmp_path, name):
    shutil.copytree(older / "bin", tmp_path / "bin")
    path = tmp_path / "bin" / name
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(BangError, match=name.rsplit(".", 1)[0]):
        train_toy(tmp_path, tmp_path / "save", 1)
    path.write_bytes(content)
    forget_notes(tmp_path / "bin")
    write_dictionaries(tmp_path / "bin", CHANGES["missing"])
    with pytest.raises(BangError, match="holds token [0-9]+, but the dictionary has only 19 types"):
        train_toy(tmp_path, tmp_path / "save", 1)


def test_text_trains_the_same(toy_data, tmp_path):
    """``--dataset-impl raw``: both tasks read lines of text themselves."""
    binarise_as = ["--task", "bang", "--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    known = ["--srcdict", toy_data / "bin" / "dict.src.txt", "--trainpref", toy_data / "train"]
    fairseq("preprocess", *binarise_as, *known, "--dataset-impl", "raw", "--destdir", tmp_path / "bin")
    ours = train_toy(toy_data, tmp_path / "a", 3)
    theirs = train_toy(tmp_path, tmp_path / "b", 3, "--dataset-impl", "raw")
    ours, theirs = (torch.load(path, weights_only=True)["model"] for path in (ours, theirs))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("impl", ["mmap", "raw", "lazy", "cached", "fasta", "huffman"])
def test_text_in_another_format_than_asked_for(text, tmp_path, impl):
    """Trains, or says in one line that there is none."""
    if impl == "mmap":
        pretrain(text, tmp_path / "save", "--dataset-impl", impl)
    else:
        with pytest.raises(BangError, match="/train"):
            pretrain(text, tmp_path / "save", "--dataset-impl", impl)


def test_fasta_is_not_written(tmp_path):
    with pytest.raises(BangError, match="--dataset-impl fasta: fairseq-preprocess cannot write it"):
        binarise(tmp_path, "a\n", "a\n", "--dataset-impl", "fasta")
