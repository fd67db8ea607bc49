"""Errors that a user can mend: one line that names the file, option or line and what to do."""

from __future__ import annotations

import sys


class BangError(ValueError):
    """Bad input, option or file. Command-line tools print its message without a traceback."""


def find(error: BaseException | None) -> BangError | None:
    """The :class:`BangError` behind an error.

    fairseq's trainer says what it caught in a bare Exception of its own. Another kind of error that happens while
    one is handled is a fault by itself.
    """
    while error is not None and not isinstance(error, BangError):
        error = error.__cause__ or (error.__context__ if type(error) is Exception else None)
    return error


def print_without_traceback(previous_hook):
    """An excepthook that prints a :class:`BangError` as one line and leaves all else to ``previous_hook``."""

    def hook(kind, error, traceback):
        known = find(error)
        if known is None:
            previous_hook(kind, error, traceback)
        else:
            print(f"error: {known}", file=sys.stderr)

    hook.is_bang_hook = True
    return hook


def install() -> None:
    """Make command-line tools in this process show :class:`BangError` as one line."""
    if not getattr(sys.excepthook, "is_bang_hook", False):
        sys.excepthook = print_without_traceback(sys.excepthook)
