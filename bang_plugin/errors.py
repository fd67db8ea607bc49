"""Errors that a user can mend: one line that names the file, option or line and what to do."""

import sys


class BangError(ValueError):
    """Bad input, option or file. Command-line tools print its message without a traceback."""


def print_without_traceback(previous_hook):
    """An excepthook that prints a :class:`BangError` as one line and leaves all else to ``previous_hook``."""

    def hook(kind, error, traceback):
        if issubclass(kind, BangError):
            print(f"error: {error}", file=sys.stderr)
        else:
            previous_hook(kind, error, traceback)

    hook.is_bang_hook = True
    return hook


def install() -> None:
    """Make command-line tools in this process show :class:`BangError` as one line."""
    if not getattr(sys.excepthook, "is_bang_hook", False):
        sys.excepthook = print_without_traceback(sys.excepthook)
