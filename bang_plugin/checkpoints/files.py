"""Reading checkpoint files safely, ours and the official release's.

fairseq reads checkpoints with ``torch.load``, which (torch >= 2.6) unpickles only plain data and the
classes on an allow-list. ``allow_classes`` extends that list by the few harmless classes that
fairseq's configurations consist of; ``guarded`` turns failures into one-line errors.
"""

import argparse
import collections
import contextlib
import contextvars
import functools
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import omegaconf
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.utils import overwrite_args_by_name
from numpy._core import multiarray
from torch import Tensor

from ..errors import BangError, first_line
from . import tensor_files
from .integrity import check_configuration, check_whole

ALLOWED_CLASSES: list[Any] = [
    argparse.Namespace,  # fairseq 0.9 and 0.10, the release
    omegaconf.DictConfig,
    omegaconf.ListConfig,
    omegaconf.AnyNode,
    omegaconf.base.ContainerMetadata,
    omegaconf.base.Metadata,
    collections.OrderedDict,
    collections.defaultdict,
    Any,
    dict,
    list,
    int,
    np.dtype,
    np.ndarray,
    # of plain numbers alone: numpy takes an array's bytes for addresses if its dtype is said to hold objects
    *{type(np.dtype(code)) for code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]},
    *((multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
    *((multiarray._reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")),
]

# whether the trainer that reads a checkpoint keeps a moving average, which fairseq starts only if the file has one
ema_wanted = contextvars.ContextVar("ema_wanted", default=False)


def allow_classes() -> None:
    """Let torch unpickle the classes above, and no others."""
    torch.serialization.add_safe_globals(ALLOWED_CLASSES)


def existing(load: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``load_model_ensemble_and_task``, with a line for a file that is not there."""

    @functools.wraps(load)
    def load_model_ensemble_and_task(filenames: list[str], *args: Any, **kwargs: Any) -> Any:
        try:
            return load(filenames, *args, **kwargs)
        except OSError as error:
            if "Model file not found" in str(error):
                raise BangError(f"{str(error).rpartition(': ')[2]}: no such checkpoint") from error
            raise
        except RuntimeError as error:
            if "Neither args nor cfg" in str(error):
                raise BangError(
                    f"{', '.join(filenames)}: holds parameters alone, so that the architecture cannot be known; start "
                    "training from it (--load-from-pretrained-model or --finetune-from-model, with its --arch and "
                    "sizes), which saves both"
                ) from error
            raise

    return load_model_ensemble_and_task


@contextlib.contextmanager
def clear_errors(path: str | Path) -> Iterator[None]:
    """Turn what can go wrong while a checkpoint is read into one line that names the file."""
    try:
        yield
    except BangError:
        raise
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|but got <class '(\S+)'>", str(error))
        if not found:
            raise _unreadable(path, error) from error
        raise BangError(
            f"{path}: refused, because loading it could run code: it holds {found[1] or found[2]}, which is not on "
            "the list of plain classes; re-save it from a program that you trust"
        ) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BangError(f"{path}: {error.strerror}") from error
    except Exception as error:  # damaged bytes surface as almost anything
        raise _unreadable(path, error) from error


def guarded(load: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``load_checkpoint_to_cpu``, checked."""

    @functools.wraps(load)
    def load_checkpoint_to_cpu(path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        with clear_errors(path):
            check_whole(path)
            overrides = args[0] if args else kwargs.get("arg_overrides")
            state = _loaded(path, overrides) if tensor_files.is_one(path) else load(path, *args, **kwargs)
            _check_model(path, state)
            check_configuration(path, state)
            _forget_pretrained(state)
            _tell_trainer(state)
            _forget_traces(state, overrides)
        return state

    return load_checkpoint_to_cpu


def _loaded(path: str, overrides: dict[str, Any] | None) -> dict[str, Any]:
    """A file of tensors as fairseq's function hands on what it has unpickled."""
    state = tensor_files.read(path)
    state["cfg"] = omegaconf.OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    if overrides is not None:
        overwrite_args_by_name(state["cfg"], overrides)
    upgraded: dict[str, Any] = checkpoint_utils._upgrade_state_dict(state)
    return upgraded


def completed(upgrade: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``_upgrade_state_dict``, which takes published files without a history of their training, too."""

    @functools.wraps(upgrade)
    def _upgrade_state_dict(state: dict[str, Any]) -> Any:
        if not state.get("optimizer_history") and "best_loss" not in state:
            unknown = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
            state["optimizer_history"] = [unknown]
        if "epoch" not in state:
            state["extra_state"] = state.get("extra_state") or {}
            beginning = {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True}
            state["extra_state"].setdefault("train_iterator", beginning)
        return upgrade(state)

    return _upgrade_state_dict


def _tell_trainer(state: dict[str, Any]) -> None:
    """Put what guards/resuming.py looks at where fairseq's trainer hands it on, on every process."""
    dictionary = (state.get("task_state") or {}).get("dictionary")
    if dictionary is not None:
        state["extra_state"]["dictionary"] = dictionary
    if ema_wanted.get():
        state["extra_state"].setdefault("ema", dict(state["model"]))


def _check_model(path: str | Path, state: Any) -> None:
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not all(isinstance(value, Tensor) for value in model.values()):
        raise BangError(f"{path}: not a fairseq checkpoint (it has no 'model' part of named parameters)")


def _unreadable(path: str | Path, error: Exception) -> BangError:
    reason = first_line(error)
    return BangError(f"{path}: not a whole checkpoint file, perhaps cut short or damaged ({reason[:160]})")


def _forget_pretrained(state: dict[str, Any]) -> None:
    """A saved model needs the file that its training started from no longer."""
    for saved in (state.get("args"), (state.get("cfg") or {}).get("model")):
        if saved is not None and getattr(saved, "load_from_pretrained_model", None):
            saved.load_from_pretrained_model = None


def _forget_traces(state: dict[str, Any], overrides: dict[str, Any] | None) -> None:
    """What training was told to trace is not what a later command or a program wants to have written."""
    for saved in (state.get("args"), (state.get("cfg") or {}).get("task")):
        for option in {"print_trace", "trace_file"} - (overrides or {}).keys():
            if saved is not None and getattr(saved, option, None):
                setattr(saved, option, None if option == "trace_file" else False)


def read(path: str) -> dict[str, Any]:
    """A checkpoint as it was saved.

    Not through fairseq, which would want to know the architecture's and the task's names as well.

    Raises:
        BangError: if it cannot be read, is damaged, holds code or has no parameters.
    """
    with clear_errors(path):
        check_whole(path)
        if tensor_files.is_one(path):
            return tensor_files.read(path)
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _check_model(path, state)
    return state
