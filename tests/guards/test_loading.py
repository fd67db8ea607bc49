"""Loading batches: how many processes, which masks, and every sentence once."""

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import data_utils, iterators

from bang_plugin.errors import BangError
from bang_plugin.guards import table
from bang_plugin.tasks.bang import BangConfig, BangTask
from bang_plugin.tasks.bang_pretraining import BangPretrainingTask
from tests.command_line import fairseq
from tests.conftest import SMALL, train_toy

BLOCKS = ["--task", "bang_pretraining", "--tokens-per-sample", 20, "--mask-block", 10, "--mask-ratio", 0.3]


def child_processes() -> set[str]:
    """Of this process, by number."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            found.update((thread / "children").read_text().split())
    return found


@pytest.fixture
def counted(monkeypatch):
    """The number of new child processes at every step of training and validation."""
    before, counts = child_processes(), []

    def counting(step):
        def counted_step(*args, **kwargs):
            counts.append(len(child_processes() - before))
            return step(*args, **kwargs)

        return counted_step

    for name in ("train_step", "valid_step"):
        monkeypatch.setattr(BangTask, name, counting(getattr(BangTask, name)))
    yield counts
    deadline = time.monotonic() + 60
    while child_processes() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child_processes() - before  # all have ended with the training


def train(toy_data, *options):
    assert SMALL[-2] == "--num-workers"  # 0, otherwise
    fairseq("train", toy_data / "bin", "--task", "bang", *SMALL[:-2], "--no-save", "--save-dir", toy_data, *options)


def test_processes_end_with_their_epoch(toy_data, counted):
    """fairseq's default of one process: besides it, validation's."""
    train(toy_data, "--max-epoch", 4, "--num-workers", 1)
    assert len(counted) > 4 * 4 and 1 <= max(counted) <= 2


def test_processes_of_an_epoch_that_is_left_early(toy_data, counted):
    """Validation of two batches of many, twice an epoch, in the midst of training by two processes."""
    early = ["--max-valid-steps", 1, "--batch-size-valid", 1, "--validate-interval-updates", 2]
    train(toy_data, "--max-epoch", 3, "--num-workers", 2, *early)
    assert 2 <= max(counted) <= 3


def recorded(batch) -> tuple:
    inputs = batch["net_input"]
    return tuple(batch["id"].tolist()), inputs["src_tokens"].numpy().tobytes(), batch["target"].numpy().tobytes()


@pytest.fixture
def seen(monkeypatch):
    """The batches that training updates got: numbers of the blocks, masked text, targets."""
    batches = []
    original = BangPretrainingTask.train_step

    def train_step(self, sample, *args, **kwargs):
        batches.append(recorded(sample))
        return original(self, sample, *args, **kwargs)

    monkeypatch.setattr(BangPretrainingTask, "train_step", train_step)
    return batches


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """60 lines of 19 letters, so as many blocks of 20 tokens."""
    folder = tmp_path_factory.mktemp("lines")
    random = np.random.default_rng(0)
    for name in ("train", "valid"):
        lines = (" ".join(random.choice(list("abcdefgh"), 19)) for _ in range(60 if name == "train" else 11))
        (folder / name).write_text("".join(line + "\n" for line in lines))
    files = ["--trainpref", folder / "train", "--validpref", folder / "valid", "--destdir", folder / "bin"]
    fairseq("preprocess", "--only-source", "--task", "bang_pretraining", *files)
    return folder / "bin"


def test_masks_are_drawn_anew_however_many_processes_and_when_resumed(text, tmp_path, seen):
    """Three epochs of four updates, at one go without processes; resumed within the second with 0, 1 and 2."""

    def pretrain(folder, updates, workers):
        seen.clear()
        saving = ["--save-dir", folder, "--no-epoch-checkpoints", "--disable-validation", "--max-update", updates]
        fairseq("train", text, *BLOCKS, *SMALL[:-2], *saving, "--batch-size", 24, "--num-workers", workers)
        return list(seen)

    straight = pretrain(tmp_path / "straight", 12, 0)
    epochs = [dict(zip(*split(straight[first : first + 4]))) for first in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(60)) for epoch in epochs)  # every block once
    for one, other in ((0, 1), (0, 2), (1, 2)):
        same = sum(epochs[one][block] == epochs[other][block] for block in range(60))
        assert same < 10  # two draws of the same span, with the same noise, are possible
    for workers in (1, 2):
        assert pretrain(tmp_path / f"straight{workers}", 12, workers) == straight
    for workers in (0, 1, 2):
        folder = tmp_path / f"resumed{workers}"
        assert pretrain(folder, 6, workers) + pretrain(folder, 12, workers) == straight


def split(batches):
    """Numbers of the blocks, and the masked text of each."""
    numbers = [number for ids, _, _ in batches for number in ids]
    rows = [text[k * 20 * 8 : (k + 1) * 20 * 8] for ids, text, _ in batches for k in range(len(ids))]
    return numbers, rows


def task_with_data(folder, **options) -> BangTask:
    cfg = BangConfig(data=str(folder), source_lang="src", target_lang="tgt", train_subset="train", **options)
    cfg.dataset_impl, cfg.required_seq_len_multiple = None, 1
    return BangTask.setup_task(cfg)


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("shards, grouped", [(1, False), (3, False), (7, True)])
def test_every_sentence_is_in_one_batch(toy_data, split, shards, grouped):
    """With fairseq's default multiple of 8, in any number of processes, in three epochs."""
    task = task_with_data(toy_data / "bin")
    task.load_dataset(split, combine=True)
    size = len(task.dataset(split))
    assert (size % 8 != 0) == (split == "train")
    for epoch in (1, 2, 3):
        numbers = []
        for shard in range(shards):
            options = {"num_shards": shards, "shard_id": shard, "epoch": epoch, "grouped_shuffling": grouped}
            iterator = task.get_batch_iterator(
                task.dataset(split), max_tokens=100, required_batch_size_multiple=8, **options
            )
            for batch in iterator.next_epoch_itr():
                numbers += batch["id"].tolist() if batch else []
        assert sorted(numbers) == list(range(size))


def test_batches_are_fairseqs_but_for_the_last(monkeypatch):
    table.install()
    sizes = np.sort(np.random.default_rng(0).integers(1, 20, 101))
    limits = {"max_tokens": 100, "required_batch_size_multiple": 8}

    def batches(function):
        return [b.tolist() for b in function(np.arange(101), lambda i: sizes[i], num_tokens_vec=sizes, **limits)]

    ours, fairseqs = batches(data_utils.batch_by_size), batches(data_utils.batch_by_size.__wrapped__)
    assert ours[:-1] == fairseqs and sum(ours, []) == list(range(101))
    few = [b.tolist() for b in data_utils.batch_by_size(np.arange(3), lambda i: 1, np.ones(3, int), **limits)]
    assert few == [[0, 1, 2]]
    assert data_utils.batch_by_size(np.arange(0), lambda i: 1, np.ones(0, int), **limits) == []


def test_few_pairs_train(toy_data, tmp_path):
    """Three of them, in validation too."""
    for side in ("src", "tgt"):
        lines = (toy_data / f"train.{side}").read_text().splitlines(keepends=True)
        (tmp_path / f"few.{side}").write_text("".join(lines[:3]))
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--srcdict", toy_data / "bin" / "dict.src.txt"]
    few = ["--trainpref", tmp_path / "few", "--validpref", tmp_path / "few", "--destdir", tmp_path / "bin"]
    fairseq("preprocess", "--task", "bang", *pair, "--joined-dictionary", *few)
    fairseq("train", tmp_path / "bin", "--task", "bang", *SMALL, "--max-epoch", 2, "--save-dir", tmp_path / "save")
    assert torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=True)["optimizer_history"]


def test_every_block_is_validated(text, monkeypatch):
    numbers = []
    original = BangPretrainingTask.valid_step

    def valid_step(self, sample, *args, **kwargs):
        numbers.extend(sample["id"].tolist())
        return original(self, sample, *args, **kwargs)

    monkeypatch.setattr(BangPretrainingTask, "valid_step", valid_step)
    fairseq("train", text, *BLOCKS, *SMALL, "--max-update", 1, "--no-save", "--save-dir", text)
    assert set(numbers) == set(range(11))


def test_nothing_fits(toy_data, tmp_path):
    with pytest.raises(BangError, match="train: none of its 300 sentences is short enough for the model and --max-tok"):
        train_toy(toy_data, tmp_path, 1, "--max-tokens", 1)
    task = task_with_data(toy_data / "bin")
    task.load_dataset("valid")
    with pytest.raises(BangError, match="max_tokens=3.*--max-tokens-valid"):
        task.get_batch_iterator(task.dataset("valid"), max_tokens=3)


def test_validation_on_the_training_data_does_not_turn_back_the_epoch(text, tmp_path, seen):
    """Validation reads the masks of the first epoch; training goes on with its own."""

    def pretrain(*options):
        seen.clear()
        limits = ["--max-update", 8, "--no-save", "--save-dir", tmp_path, "--batch-size", 24]
        fairseq("train", text, *BLOCKS, *SMALL, *limits, *options)
        return list(seen)

    assert pretrain("--valid-subset", "train", "--validate-interval-updates", 1) == pretrain("--disable-validation")


def test_a_thread_that_waits_for_room_is_let_go():
    table.install()
    started = []

    def numbers():
        for number in range(1000):
            started.append(number)
            yield number

    class Numbers:
        def __len__(self):
            return 1000

        def __iter__(self):
            return numbers()

    buffered = iterators.BufferedIterator(2, Numbers())
    assert next(buffered) == 0
    consumer = buffered._consumer
    del buffered
    assert not consumer.is_alive() and len(started) < 10
