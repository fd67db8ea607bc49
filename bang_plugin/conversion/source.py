"""A model of transformers': a folder, or its name on the Hugging Face hub."""

import json
import logging
import re
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoints.files import clear_errors
from ..checkpoints.integrity import check_whole
from ..errors import BangError, first_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
EXTRA = "pip install 'bang_plugin[convert]'"


class Source:
    """Where the files of one model come from, each fetched when it is asked for.

    Args:
        name: a folder, or a name on the hub such as ``microsoft/prophetnet-large-uncased``.
        needed: what to download by hand where the hub cannot be reached, for the error.

    Raises:
        BangError: if it is neither.
    """

    def __init__(self, name: str, needed: str):
        self.name, self.needed = name, needed
        self.folder = Path(name) if Path(name).is_dir() else None
        if self.folder is None and (Path(name).exists() or not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name)):
            raise BangError(f"{name}: no such folder, and no name on the hub (owner/model)")

    def file(self, *names: str) -> Path:
        """The first of these files that the model has.

        Raises:
            BangError: if it has none, or the hub cannot be reached.
        """
        found = self.optional(*names)
        if found is None:
            raise BangError(f"{self.name}: no {' or '.join(names)} in it")
        return found

    def optional(self, *names: str) -> Path | None:
        """The same, or None."""
        if self.folder is None:
            return self._download(names)
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def config(self, kinds: Collection[str]) -> dict[str, Any]:
        """``config.json``.

        Raises:
            BangError: if it is not that of a model of one of these kinds.
        """
        path = self.file("config.json")
        config = _read_json(path)
        kind = config.get("model_type")
        if kind not in kinds:
            raise BangError(f"{path}: a model of type {kind}, not {' or '.join(kinds)}")
        return config

    def is_cased(self) -> bool:
        """Whether ``tokenizer_config.json`` says that word pieces keep upper case."""
        path = self.optional("tokenizer_config.json")
        return path is not None and _read_json(path).get("do_lower_case") is False

    def parameters(self) -> dict[str, Tensor]:
        """All parameters by name, in float32.

        Raises:
            BangError: if the file is missing, damaged, or holds anything that could run code.
        """
        path = self.file(*WEIGHTS)
        with clear_errors(path):
            if path.suffix == ".safetensors":
                found = _read_safetensors(path)
            else:
                check_whole(str(path))
                found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
            raise BangError(f"{path}: no file of named parameters")
        return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}

    def _download(self, names: tuple[str, ...]) -> Path | None:
        try:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import EntryNotFoundError
        except ImportError as error:
            raise BangError(
                f"{self.name}: no folder here, and downloading needs huggingface_hub: {EXTRA}, or {self._by_hand()}"
            ) from error
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each of its attempts
        failure: Exception | None = None
        for name in names:
            try:
                return Path(hf_hub_download(self.name, name))
            except EntryNotFoundError as error:
                if isinstance(error, FileNotFoundError):  # neither to be downloaded nor kept from an earlier time
                    failure = error
            except Exception as error:  # of the network, the hub and the disk, each has its own
                failure = error
                break
        if failure is not None:
            reason = textwrap.shorten(first_line(failure.__cause__ or failure), 160, placeholder=" …")
            raise BangError(
                f"{self.name}: no folder here, and not to be had from the Hugging Face hub ({reason}): "
                f"{self._by_hand()}"
            ) from failure
        return None

    def _by_hand(self) -> str:
        return (
            f"download its {self.needed} and {' or '.join(WEIGHTS)} where there is a network, into one folder, and "
            "give that folder instead of the name"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BangError(f"{path}: cannot be read as JSON ({first_line(error)})") from error
    if not isinstance(found, dict):
        raise BangError(f"{path}: holds no JSON object")
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BangError(f"{path}: reading it needs safetensors: {EXTRA}") from error
    return load_file(path)
