"""Checkpoints without pickle: parameters in a safetensors file, and ``config.json`` beside it for all else.

The configuration is what fairseq saves in a checkpoint. A parameter that two names share is stored once.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import BangError

NAME, CONFIG = "model.safetensors", "config.json"
EXTRA = 'pip install "bang_plugin[export]"'


def is_one(path: str) -> bool:
    """Whether a checkpoint's name says that it is such a file."""
    return path.endswith(".safetensors")


def write(folder: Path, parameters: dict[str, Tensor], cfg: dict[str, Any], task_state: dict[str, Any]) -> None:
    """Write both files into a folder.

    Args:
        folder: which is there.
        parameters: by name.
        cfg: the configuration, of plain values.
        task_state: what the task remembers, likewise.

    Raises:
        BangError: if the package safetensors is not installed.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise BangError(f"{NAME}: to write it needs the package safetensors: {EXTRA}") from error
    first: dict[tuple[Any, ...], str] = {}
    names = {
        name: first.setdefault((value.data_ptr(), value.shape, value.stride()) if value.numel() else (name,), name)
        for name, value in parameters.items()
    }
    stored = {name: parameters[name].detach().contiguous() for name in first.values()}
    save_file(stored, folder / NAME, metadata={"format": "pt"})
    config = {
        "format": "bang_plugin",
        "sha256": _sha256(folder / NAME),
        "shared": {name: of for name, of in names.items() if name != of},
        "task_state": task_state,
        "cfg": cfg,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copymode(folder / CONFIG, folder / NAME)  # the package makes files that are for their owner alone


def read(path: str) -> dict[str, Any]:
    """A checkpoint as ``torch.load`` gives it.

    Raises:
        BangError: if one of the files is missing, they do not belong together, or the package is not installed.
        Exception: of the package, for a damaged file.
    """
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BangError(f"{path}: to read it needs the package safetensors: {EXTRA}") from error
    beside = Path(path).with_name(CONFIG)
    model: dict[str, Tensor] = load_file(path)
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except OSError as error:
        raise BangError(f"{beside}: {error.strerror}; it says how to build the model of {path}") from error
    except ValueError as error:
        raise BangError(f"{beside}: not JSON ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("cfg"), dict) or not _is_names(config.get("shared")):
        raise BangError(f"{beside}: not one that bang export wrote")
    if _sha256(Path(path)) != config.get("sha256"):
        raise BangError(f"{path}: not the file that {CONFIG} beside it was written for, or damaged; copy both again")
    model.update({name: model[of] for name, of in config["shared"].items()})
    return {
        "args": None,
        "cfg": config["cfg"],
        "model": model,
        "task_state": config.get("task_state") or {},
        "extra_state": {},
    }


def _is_names(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(of, str) for of in value.values())


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
