"""The last line of a command that failed: ``error: …`` for what its user can mend, else Python's own traceback.

``mistakes.py`` lists what fairseq raises for a user's mistakes. An error that is not in it is a fault of the code and
keeps its traceback, and so does every error outside fairseq's commands. ``BANG_TRACEBACK=1`` shows it always.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .. import errors
from .mistakes import MISTAKES
from .raised import Raised, typed

SWITCH = "BANG_TRACEBACK"
ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]
IN_A_WORKER = re.compile(r"^bang_plugin\.errors\.BangError: (.*)$", re.M)  # in what torch says of a started process


def explain(error: BaseException, cfg: DictConfig | None = None) -> str | None:
    """What the user can do about an error, in one line; None if it is a fault of the code.

    Args:
        error: with its traceback.
        cfg: the configuration of the command that it ended; None if it may be no command's.
    """
    in_a_worker = IN_A_WORKER.findall(str(error))
    if in_a_worker:
        return in_a_worker[-1]
    raised, known = Raised(error, cfg), errors.find(error)
    if known is not None:
        return raised.with_option(" ".join(str(known).split()))
    if cfg is None and "fairseq_cli." not in raised.where:
        return None
    for mistake in MISTAKES:
        line = mistake.line_for(raised)
        if line is not None:
            return line
    return None


def wrapped(main: Callable[..., Any], cfg: DictConfig, *args: Any, **kwargs: Any) -> Any:
    """``main(cfg, …)``, which raises a ``BangError`` for every mistake of the user's.

    So one of several processes can tell the one that started it what its user should know.
    """
    try:
        return main(cfg, *args, **kwargs)
    except Exception as error:
        line = None if isinstance(error, errors.BangError) else explain(error, cfg)
        if line is None:
            raise
        raise errors.BangError(line) from error


def hook(previous: ExceptHook) -> ExceptHook:
    """An excepthook that prints one line where there is one, and leaves all else to ``previous``."""

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = explain(error)
        if line is None or os.environ.get(SWITCH, "0") != "0":
            previous(kind, error, trace)
        elif type(error) is not errors.BangError or error.__cause__ is not None:
            print(f"({SWITCH}=1 shows where this was raised)", file=sys.stderr)
        if line is not None:
            print(f"error: {line}", file=sys.stderr)

    excepthook.is_bang_hook = True  # type: ignore[attr-defined]  # a mark, see install()
    return excepthook


def install() -> None:
    """Make this process end so; idempotent."""
    if not getattr(sys.excepthook, "is_bang_hook", False):
        sys.excepthook = hook(sys.excepthook)
    if HydraConfig.initialized():
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra prints what it likes, and no excepthook is asked


def install_if_chosen(tasks: Collection[str]) -> None:
    """The same if the command line names one of these tasks: some mistakes end a command before it asks a task.

    Args:
        tasks: names.
    """
    if any(name == "--task" and value in tasks for name, value in typed(sys.argv[1:])):
        install()
