"""Shared fixtures: the tiny reference model with the numbers that the official release computed for it."""

import json
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch

import bang_plugin  # noqa: F401  (registers everything)
from bang_plugin.data.dictionary import load_dictionary
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.modules.attention_backends import FlexAttention
from bang_plugin.tasks.bang import BangConfig, BangTask

from .command_line import fairseq
from .pretend_gpu.device import PretendGPU

REFERENCE = Path(__file__).parent / "data" / "bang_small"


@pytest.fixture(scope="session")
def reference():
    """Everything the release computed: ``io`` and ``nstream`` arrays, ``meta``, parameters ``state``."""
    arrays = {name: dict(np.load(REFERENCE / f"{name}.npz")) for name in ("io", "nstream", "state_dict")}
    tensors = {name: {k: torch.from_numpy(v) for k, v in part.items()} for name, part in arrays.items()}
    meta = json.loads((REFERENCE / "meta.json").read_text())
    dictionary = load_dictionary(str(REFERENCE / "vocab.txt"))
    return SimpleNamespace(
        io=tensors["io"], nstream=tensors["nstream"], state=tensors["state_dict"], meta=meta, dictionary=dictionary
    )


def build_task(dictionary, **options) -> BangTask:
    cfg = BangConfig(data="unused", max_source_positions=40, max_target_positions=40)
    for key, value in options.items():
        setattr(cfg, key, value)
    return BangTask(cfg, dictionary, dictionary)


@pytest.fixture
def make_task(reference):
    return lambda **options: build_task(reference.dictionary, **options)


def build_reference_model(reference, **options) -> BangModel:
    cfg = BangModelConfig(max_source_positions=40, max_target_positions=40)
    for key, value in {**reference.meta["args"], **options}.items():
        if key in BangModelConfig.__dataclass_fields__:
            setattr(cfg, key, value)
    model = BangModel.build_model(cfg, build_task(reference.dictionary))
    model.load_state_dict({k: v.clone() for k, v in reference.state.items()}, strict=True)
    return model.eval()


@pytest.fixture
def model(reference):
    return build_reference_model(reference)


@pytest.fixture
def compiled_quickly(monkeypatch):
    """``torch.compile`` traces and guards as ever, but leaves out its code generator, which is slow."""
    whole = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: whole(module, backend="eager", **options))
    yield
    torch.compiler.reset()


@pytest.fixture
def pretended_gpu():
    """The machine seems to have a GPU, even where it has one: see pretend_gpu/device.py."""
    with PretendGPU() as pretended, mock.patch.object(FlexAttention, "_compiled", None):
        yield pretended


@pytest.fixture
def gpu(request):
    """The machine has a GPU, or seems to."""
    if not torch.cuda.is_available():
        request.getfixturevalue("pretended_gpu")


@pytest.fixture
def batch(reference):
    """The reference batch as fairseq would collate it."""
    io = reference.io
    pad = reference.dictionary.pad()
    return {
        "id": torch.arange(len(io["src_tokens"])),
        "nsentences": len(io["src_tokens"]),
        "ntokens": int(io["target"].ne(pad).sum()),
        "net_input": {name: io[name] for name in ("src_tokens", "src_lengths", "prev_output_tokens")},
        "target": io["target"],
    }


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory):
    """Binarised toy task, reversing letters: 300 pairs to train on, 40 to validate, 43 to test."""
    folder = tmp_path_factory.mktemp("toy")
    random = np.random.default_rng(0)
    for split, size in (("train", 300), ("valid", 40), ("test", 43)):
        lines = ["".join(random.choice(list("abcdefgh"), random.integers(1, 9))) for _ in range(size)]
        (folder / f"{split}.src").write_text("".join(" ".join(line) + "\n" for line in lines))
        (folder / f"{split}.tgt").write_text("".join(" ".join(line[::-1].upper()) + "\n" for line in lines))
    prefixes = [part for split in ("train", "valid", "test") for part in (f"--{split}pref", folder / split)]
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    fairseq("preprocess", "--task", "bang", *pair, *prefixes, "--destdir", folder / "bin")
    return folder


SMALL = ["--arch", "bang_tiny", "--encoder-layers", 1, "--decoder-layers", 1, "--max-source-positions", 20]
SMALL += ["--max-target-positions", 20, "--criterion", "nstream_loss", "--optimizer", "adam", "--lr", 0.003]
SMALL += ["--encoder-embed-dim", 32, "--decoder-embed-dim", 32, "--encoder-ffn-embed-dim", 64]
SMALL += ["--decoder-ffn-embed-dim", 64, "--dropout", 0, "--max-tokens", 600, "--no-progress-bar", "--cpu"]
SMALL += ["--num-workers", 0]


def train_toy(toy_data, save_dir, updates, *options) -> str:
    """Train on the toy data by fairseq-train; returns the last checkpoint's path."""
    base = [toy_data / "bin", "--task", "bang", "--save-dir", save_dir, "--max-update", updates, *SMALL]
    fairseq("train", *base, "--disable-validation", *options)
    return str(save_dir / "checkpoint_last.pt")


@pytest.fixture(scope="session")
def toy_checkpoint(toy_data, tmp_path_factory):
    """A checkpoint of a small BANG trained AR and NAR for 150 updates."""
    return train_toy(toy_data, tmp_path_factory.mktemp("toy_model"), 150, "--nar-ratio", 0.5)


@pytest.fixture
def rows(reference):
    """Eight sources to write from."""
    torch.manual_seed(0)
    eos = torch.tensor([reference.dictionary.eos()])
    return [torch.cat([torch.randint(10, 60, (int(n),)), eos]) for n in torch.randint(1, 12, (8,))]
