"""Errors that a user can mend: one line that names the file, option or line and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BangError(ValueError):
    """Bad input, option or file. Command-line tools print its message without a traceback."""


def find(error: BaseException | None) -> BangError | None:
    """The ``BangError`` behind an error.

    fairseq's trainer says what it caught in a bare Exception of its own. Another kind of error that happens while
    one is handled is a fault by itself.
    """
    while error is not None and not isinstance(error, BangError):
        error = error.__cause__ or (error.__context__ if type(error) is Exception else None)
    return error


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def near(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name: those that it may have meant."""
    found = get_close_matches(name, list(known))
    return f"; did you mean {' or '.join(found)}?" if found else ""
