"""What is known of an exception that ended one of fairseq's commands: where it came from, which option it is about."""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from omegaconf import DictConfig, OmegaConf


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
        self._typed, self._configured = list(typed(sys.argv[1:])), list(_configured("", cfg))

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


def typed(arguments: list[str]) -> Iterator[tuple[str, str]]:
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
