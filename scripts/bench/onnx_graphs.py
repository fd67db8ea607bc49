"""Our model's exported graphs in onnxruntime, as contestants of ``peers``."""

import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from bang_plugin.export import onnx_files
from bang_plugin.export.decode import Writer

from .contestants import Contestant


def onnxruntime_graphs(model, dictionary, block_size: int, kept: int) -> dict[str, Contestant]:
    """Greedy, speculative and NAR, in float32 and with 8-bit weights.

    Raises:
        BangError: if a package is missing.
    """
    folder = tempfile.TemporaryDirectory()
    task = SimpleNamespace(target_dictionary=dictionary)
    source = onnx_files.Source("peers", None, task, model, None)
    onnx_files.write(source, Path(folder.name), "int8")
    found = contestants(Path(folder.name), block_size, kept)
    for one in found.values():
        one.folder = folder  # which is removed with the last of them
    return found


def contestants(folder: Path, block_size: int, kept: int) -> dict[str, Contestant]:
    """Those of an exported folder."""
    found = {}
    for kind in ("float32", "int8"):
        setting = (folder, "" if kind == "float32" else kind, torch.get_num_threads())
        plain, scripted = Writer(*setting), Scripted(kept, block_size, *setting)
        scripted.graphs = plain.graphs
        for name, writer, mode in (
            ("greedy", plain, "ar"),
            (f"speculative, {kept} of {block_size} kept", scripted, "speculative"),
            ("nar", plain, "nar"),
        ):
            found[f"onnxruntime {kind}, {name}"] = Contestant(partial(write, writer, mode, block_size))
    return found


def write(writer: Writer, mode: str, block_size: int, sample: dict, length: int) -> list[list[int]]:
    """See ``Contestant``."""
    sources = sample["net_input"]["src_tokens"].tolist()
    return writer.write(sources, mode, block_size, max_len=length - 1, min_len=length - 1)


class Scripted(Writer):
    """Whose verifying pass writes ``kept`` tokens of each draft; see ``contestants.scripted_speculative``."""

    def __init__(self, kept: int, block_size: int, *setting):
        super().__init__(*setting)
        self.kept, self.block_size = kept, block_size

    def choose(self, logits, place, max_len: int, min_len: int):
        tokens = super().choose(logits, place, max_len, min_len)
        written = np.full_like(tokens, self.eos + 2)
        written[:, self.kept - 1 : tokens.shape[1] - self.block_size] = self.eos + 3
        return np.where(tokens == self.eos, self.eos, written)
