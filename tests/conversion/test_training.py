"""Fine-tuning from a converted checkpoint, by each of fairseq's ways to start from one."""

import pytest
import torch

from bang_plugin.data.dictionary import identity, load_dictionary
from bang_plugin.errors import BangError
from tests.command_line import fairseq, hypotheses

from .conftest import LENGTH

SIZES = ["--arch", "bang_large", "--encoder-embed-dim", 16, "--decoder-embed-dim", 16, "--encoder-layers", 2]
SIZES += ["--encoder-ffn-embed-dim", 24, "--encoder-attention-heads", 4, "--decoder-layers", 2, "--num-buckets", 6]
SIZES += ["--decoder-ffn-embed-dim", 20, "--decoder-attention-heads", 2, "--relative-max-distance", 9]
OPTIONS = ["--task", "bang", "--criterion", "nstream_loss", "--optimizer", "adam", "--max-tokens", 400, "--cpu"]
OPTIONS += ["--no-progress-bar", "--disable-validation", "--max-update", 1, "--max-source-positions", LENGTH - 1]
OPTIONS += ["--max-target-positions", LENGTH - 2]


@pytest.fixture(scope="module")
def data(converted, tmp_path_factory):
    """Pieces binarised with the converted dictionary, as docs/pretrained.md says."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "valid", "test"):
        for side, text in (("src", "a b c"), ("tgt", "c b")):
            (folder / f"{split}.{side}").write_text(f"{text}\n" * 8)
    prefixes = [part for split in ("train", "valid", "test") for part in (f"--{split}pref", folder / split)]
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    given = ["--srcdict", converted / "dict.src.txt", "--destdir", folder / "bin"]
    fairseq("preprocess", "--task", "bang", *pair, *prefixes, *given)
    return folder / "bin"


def trained(data, save_dir, *options):
    fairseq("train", data, "--save-dir", save_dir, *OPTIONS, *SIZES, *options)
    return torch.load(save_dir / "checkpoint_last.pt", weights_only=True)["model"]


@pytest.mark.parametrize("start", ["--load-from-pretrained-model", "--finetune-from-model"])
def test_training_starts_from_it(data, converted, tmp_path, start):
    begun = torch.load(converted / "model.pt", weights_only=True)["model"]
    still = trained(data, tmp_path, start, converted / "model.pt", "--lr", 0)
    assert still.keys() == begun.keys() and all(torch.equal(still[name], begun[name]) for name in begun)


def test_longer_positions(data, converted, tmp_path):
    options = ["--max-source-positions", 60, "--lr", 0, "--load-from-pretrained-model", converted / "model.pt"]
    table = trained(data, tmp_path, *options)["encoder.embed_positions.weight"]
    begun = torch.load(converted / "model.pt", weights_only=True)["model"]["encoder.embed_positions.weight"]
    assert len(table) == 61 and torch.equal(table[:LENGTH], begun)


@pytest.mark.parametrize("start", ["--load-from-pretrained-model", "--finetune-from-model"])
def test_another_dictionary(toy_data, converted, tmp_path, start):
    with pytest.raises(BangError, match="dictionary"):
        trained(toy_data / "bin", tmp_path, start, converted / "model.pt", "--lr", 0)


def test_generating_from_it(data, converted):
    for decoding in ("ar", "nar"):
        options = ["--path", converted / "model.pt", "--decoding", decoding, "--max-len-b", 5, "--cpu"]
        assert len(hypotheses(fairseq("generate", data, "--task", "bang", *options))) == 8


def test_the_examples_vocabulary(converted):
    """``prepare --vocab OUT/vocab.txt`` and ``train --pretrained OUT/model.pt`` speak of one dictionary."""
    remembered = torch.load(converted / "model.pt", weights_only=True)["task_state"]["dictionary"]
    for name in ("vocab.txt", "dict.src.txt", "dict.tgt.txt"):
        assert identity(load_dictionary(str(converted / name))) == remembered
