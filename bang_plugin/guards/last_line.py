"""The last line of a command that failed: ``error: …`` for what its user can mend, else Python's own traceback.

``mistakes.py`` lists what fairseq raises for a user's mistakes. An error that is not in it is a fault of the code and
keeps its traceback, and so does every error outside fairseq's commands. ``BANG_TRACEBACK=1`` shows it always.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from types import FrameType, TracebackType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from .. import errors

SWITCH = "BANG_TRACEBACK"
ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]
IN_A_WORKER = re.compile(r"^bang_plugin\.errors\.BangError: (.*)$", re.M)  # in what torch says of a started process


class Raised:
    """An exception that ended one of fairseq's commands, with what is known of where it came from.

    Attributes:
        error: the exception.
        where: the functions that it passed through, ``module:function > …``, the one that raised it last.

    Its methods raise LookupError for what is not known.
    """

    def __init__(self, error: BaseException, cfg: DictConfig | None = None):
        self.error: Any = error  # whose attributes depend on its class
        self._frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        self.where = " > ".join(map(_name, self._frames))
        self._typed, self._configured = list(_typed(sys.argv[1:])), list(_configured("", cfg))

    @property
    def options(self) -> list[tuple[str, str]]:
        """Names and values of what was typed (``""``: without an option) and of the command's configuration."""
        return self._typed + self._configured

    @functools.cached_property
    def text(self) -> str:
        """Its message, in one line."""
        return " ".join(str(self.error).split())

    def local(self, function: str, name: str) -> Any:
        """The value of a variable in the last frame of ``module:function``."""
        for frame in reversed(self._frames):
            if _name(frame) == function:
                return frame.f_locals[name]
        raise LookupError(function)

    def named(self, option: str) -> str:
        """``--option value`` as the user asked for it."""
        for options in (self._typed[::-1], self._configured):  # of an option that is typed twice the last counts
            for name, value in options:
                if _plain(name) == _plain(option):
                    return f"{flag(option)} {value}"
        raise LookupError(option)

    def with_value(self, value: str) -> str:
        """``--option value``, whichever option has that value."""
        for name, given in self.options:
            if given.strip() == value.strip():
                return f"{name} {given}".strip()
        raise LookupError(value)

    def with_option(self, line: str) -> str:
        """``--option file: …`` for ``file: …``, if an option named that file."""
        file, colon, rest = line.partition(": ")
        try:
            return self.with_value(file) + colon + rest if rest else line
        except LookupError:
            return line

    def part(self) -> str:
        """What was to be built from one of fairseq's registries: ``--bpe sentencepiece``."""
        kind, choice = (self.local("fairseq.registry:build_x", name) for name in ("registry_name", "choice"))
        try:
            return self.with_value(choice)  # --eval-bleu-detok moses is a tokenizer too
        except LookupError:
            return f"{flag(kind)} {choice}"

    def file(self, path: str) -> str:
        """The option that named a file, and the file where that has more to its name: ``--trainpref x: x.de``."""
        best = ("", "")
        for name, value in self.options:
            # several prefixes, or folders of data, may stand in one option
            for start in filter(None, [value, *re.split("[,:]", value)]):
                for here, there in ((start, path), (os.path.abspath(start), os.path.abspath(path))):
                    if there == here or there.startswith((f"{here}.", f"{here}{os.sep}")):
                        best = max(best, (here, f"{name} {value}".strip()), key=lambda found: len(found[0]))
        if not best[0]:
            raise LookupError(path)
        return best[1] if best[1].endswith(path) else f"{best[1]}: {path}"


def flag(option: str) -> str:
    """``--bpe-codes`` for ``bpe_codes``, of whatever part of the configuration."""
    return f"--{_plain(option)}"


def _plain(option: str) -> str:
    return option.lstrip("-").rpartition(".")[2].replace("_", "-")


def _name(frame: FrameType) -> str:
    names = frame.f_globals
    spec = names.get("__spec__")  # python -m fairseq_cli.train is called __main__
    module = spec.name if names.get("__name__") == "__main__" and spec else names.get("__name__")
    return f"{module}:{frame.f_code.co_name}"


def _typed(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """(name, value) of a command line: ``--name value``, ``--name=value``, Hydra's ``part.name=value``, ``value``."""
    name = ""
    for argument in arguments:
        if re.match("-+[a-zA-Z]", argument) or re.match(r"\+*[a-z_]+(\.\w+)+=", argument):
            name, assigned, value = argument.lstrip("+").partition("=")
            if assigned:
                yield name, value
                name = ""
        else:
            yield name, argument
            name = ""


def _configured(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """(name, value) of all that a configuration holds."""
    if isinstance(value, DictConfig):
        value = OmegaConf.to_container(value, resolve=False, enum_to_str=True)
    if isinstance(value, dict):
        for key, part in value.items():
            name = prefix if key == "_name" else f"{prefix}.{key}".lstrip(".")
            yield from _configured(name, part)
    elif value is not None and prefix:
        yield flag(prefix), str(value)


def explain(error: BaseException, cfg: DictConfig | None = None) -> str | None:
    """What the user can do about an error, in one line; None if it is a fault of the code.

    Args:
        error: with its traceback.
        cfg: the configuration of the command that it ended; None if it may be no command's.
    """
    from .mistakes import MISTAKES

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
    if any(name == "--task" and value in tasks for name, value in _typed(sys.argv[1:])):
        install()
