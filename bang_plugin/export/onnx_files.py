"""``--format onnx``: graphs, what is to be known of them, the tokeniser, and a loop that writes with them."""

import contextlib
import io
import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoints.tensor_files import EXTRA
from ..errors import BangError, first_line
from ..models.bang import BangModel
from . import graphs
from .source import Source, check_alone

# the dimensions of inputs that may have any size; those without a name are the model's
AXES = {
    "src_tokens": ("batch", "source"),
    "elements": ("masks",),
    "cross_keys": ("batch", "", "", "source"),
    "cross_values": ("batch", "", "", "source"),
    "source_mask": ("batch", "source"),
    "keys": ("batch", "", "", "slots"),
    "values": ("batch", "", "", "slots"),
    "lengths": ("batch",),
    "tokens": ("batch", "new"),
    "anchor": ("batch", "masks"),
    "element": ("batch", "masks"),
}
LOOP = Path(__file__).with_name("decode.py")


def write(source: Source, folder: Path, quantize: str = "none") -> list[str]:
    """Write graphs, configuration with dictionary, tokeniser and loop.

    Args:
        source: the model.
        folder: to write into.
        quantize: ``int8``: the graphs once more, with weights of 8 bits by onnxruntime's quantiser.

    Returns:
        names of the files.

    Raises:
        BangError: if a package is missing, or the model has something that cannot be exported.
    """
    names = write_graphs(source.model, folder, source.folder)
    if quantize == "int8":
        names += [_quantize(folder / name) for name in names]
    text = json.dumps(configuration(source), indent=1, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    shutil.copyfile(LOOP, folder / LOOP.name)
    return [*names, "config.json", LOOP.name, *source.copy_tokeniser(folder)]


def configuration(source: Source) -> dict[str, Any]:
    """What a program has to know that runs the graphs."""
    dictionary, decoder = source.dictionary, source.model.decoder
    attention = decoder.layers[0].ngram_self_attn
    return {
        "pad": dictionary.pad(),
        "eos": dictionary.eos(),
        "unk": dictionary.unk(),
        "max_len": decoder.max_positions() - 1,
        "max_source": source.model.encoder.max_positions(),
        "layers": len(decoder.layers),
        "heads": attention.num_heads,
        "head_dim": attention.head_dim,
        "cased": source.cased,
        "symbols": dictionary.symbols,
    }


def write_graphs(model: BangModel, folder: Path, name: str = "model") -> list[str]:
    """Write ``nar.onnx``, ``encoder.onnx`` and ``step.onnx``.

    Args:
        model: in float32, not packed.
        folder: to write into.
        name: of the model, for errors.

    Returns:
        names of the files.

    Raises:
        BangError: see ``write``.
    """
    check_alone([model], name)
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BangError(f"--format onnx needs the package {error.name}: {EXTRA}") from error
    backend, model.decoder.attention_backend = model.decoder.attention_backend, "fused"
    try:
        for graph, parts in graphs.example(model.eval()).items():
            _export(*parts, folder / f"{graph}.onnx", name)
    finally:
        model.decoder.attention_backend = backend
    return [f"{graph}.onnx" for graph in graphs.example(model)]


def _export(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path, name: str) -> None:
    sizes: dict[str, Any] = {}
    shapes = {
        key: {i: sizes.setdefault(axis, torch.export.Dim(axis)) for i, axis in enumerate(AXES[key]) if axis}
        for key in inputs
    }
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                module.eval(),
                kwargs=inputs,
                f=path,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=shapes,
                external_data=False,
            )
    except Exception as error:  # of torch, each step of the conversion has its own
        raise BangError(f"{name}: cannot be exported as {path.name}: {_reason(error)}") from error


def _reason(error: BaseException | None) -> str:
    """Which operator has no counterpart, or what else torch says first."""
    told = []
    while error is not None:
        told.append(error)
        error = error.__cause__
    for one in reversed(told):
        if operator := re.search(r"\b(?:aten|prims)[.:]+(\w+)", str(one)):
            return f"ONNX has nothing for its operator {operator[1]}"
    return first_line(told[-1])[:160]


def _quantize(path: Path) -> str:
    """Write a graph with 8-bit weights; activations are rounded as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    smaller = path.with_suffix(".int8.onnx")
    with _quiet():
        quantize_dynamic(path, smaller, weight_type=QuantType.QInt8, per_channel=True)
    return smaller.name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own progress and of packages that it does not need."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
