"""Parameters between checkpoints and models: names, sizes and position tables, ours and the official release's."""

from typing import Any

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from torch import Tensor

from ..data.dictionary import check_same
from ..errors import BangError
from .files import read

POSITION_TABLES = ("encoder.embed_positions.weight", "decoder.embed_positions.weight")


def known_fields(cfg: Any, dataclass: type[FairseqDataclass]) -> dict[str, Any]:
    """The fields of ``cfg`` that ``dataclass`` has; older or foreign checkpoints may hold others."""
    values = {name: getattr(cfg, name, None) for name in dataclass.__dataclass_fields__ if not name.startswith("_")}
    return {name: value for name, value in values.items() if value is not None}


def resize_positions(table: Tensor, size: int) -> Tensor:
    """Cut or extend a position table as the release does.

    Args:
        table: ``(positions, embed_dim)``.
        size: positions wanted. Every further copy of the table has its columns rotated by one more.
    """
    copies = [table]
    while sum(len(copy) for copy in copies) < size:
        copies.append(table.roll(-len(copies), dims=1))
    return torch.cat(copies)[:size]


def adapt_parameters(state: dict[str, Tensor], model: BaseFairseqModel, prefix: str = "") -> None:
    """Turn parameters under the release's names and sizes into ``model``'s, in place.

    Raises:
        BangError: if they belong to another architecture or another dictionary.
    """
    prefix = f"{prefix}." if prefix else ""
    for name in ("weight", "bias"):
        released = f"{prefix}encoder.emb_layer_norm.{name}"
        if released in state:
            state[f"{prefix}encoder.layernorm_embedding.{name}"] = state.pop(released)
    state.pop(f"{prefix}decoder.version", None)
    mask = f"{prefix}decoder.ngram_input_embed.weight"
    if mask in state and len(state[mask]) == 2:
        state[mask] = state[mask][1:]  # the release keeps row 1
    wanted = model.state_dict()
    for name in POSITION_TABLES:
        if prefix + name in state and len(state[prefix + name]) != len(wanted[name]):
            state[prefix + name] = resize_positions(state[prefix + name], len(wanted[name]))
    _check_fit({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}, wanted)


def _check_fit(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    tokens = "encoder.embed_tokens.weight"
    if (
        tokens in state
        and state[tokens].size(1) == wanted[tokens].size(1)
        and len(state[tokens]) != len(wanted[tokens])
    ):
        raise BangError(
            f"the checkpoint's dictionary has {len(state[tokens])} types, the data's {len(wanted[tokens])}: "
            "use the dictionary that the model was trained with (fairseq-preprocess --srcdict)"
        )
    different = [k for k in state.keys() & wanted.keys() if state[k].shape != wanted[k].shape]
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if different or missing or extra:
        parts = []
        if missing:
            parts.append(f"{len(missing)} parameters missing (first: {missing[0]})")
        if extra:
            parts.append(f"{len(extra)} unknown (first: {extra[0]})")
        if different:
            name = min(different)
            shapes = f"{tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
            parts.append(f"{len(different)} of another size (first: {name}, {shapes})")
        raise BangError(f"the checkpoint holds another architecture: {', '.join(parts)}")


def load_pretrained(model: BaseFairseqModel, path: str, load_sep: bool = False) -> None:
    """Start ``model`` from a checkpoint's parameters (``--load-from-pretrained-model``).

    Raises:
        BangError: if the file cannot be read or does not fit.
    """
    checkpoint, dictionary = read(path), model.decoder.dictionary
    check_same((checkpoint.get("task_state") or {}).get("dictionary"), dictionary, path)
    state = checkpoint["model"]
    if load_sep:
        sep, x_sep = dictionary.index("[SEP]"), dictionary.index("[X_SEP]")
        if dictionary.unk() in (sep, x_sep):
            raise BangError("--load-sep needs the symbols [SEP] and [X_SEP] in the dictionary")
        for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            state[name] = state[name].clone()
            state[name][x_sep] = state[name][sep]
    try:
        model.load_state_dict(state, strict=True)
    except BangError as error:
        raise BangError(f"{path}: {error}") from error
