"""Reads texts to score, and writes results whole or not at all."""

import os
import re
from collections.abc import Callable, Sized
from pathlib import Path

from ..errors import BangError

GENERATED = re.compile(r"([HD])-(\d+)\t-?(?:\d\S*|inf|nan)(?:\t(.*))?")


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text; only line feeds (with or without a carriage return) end a line.

    Raises:
        BangError: if it cannot be read, is not UTF-8 or holds nothing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BangError(f"{path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BangError(f"{path}: line {line} is not UTF-8") from error
    if not text.strip():
        raise BangError(f"{path}: no text in it")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def read_hypotheses(path: Path) -> list[str]:
    """One hypothesis per line, or what fairseq-generate printed: its H- or D- lines in the order of their numbers.

    D- lines (without word pieces) are preferred to H- lines, and of several hypotheses the first, which is the best.

    Raises:
        BangError: if it cannot be read or a number is missing.
    """
    lines = read_lines(path)
    found: dict[str, dict[int, str]] = {"D": {}, "H": {}}
    for line in lines:
        if match := GENERATED.fullmatch(line):
            kind, number, text = match.groups()
            found[kind].setdefault(int(number), text or "")
    generated = found["D"] or found["H"]
    if not generated:
        return lines
    missing = [number for number in range(max(generated) + 1) if number not in generated]
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise BangError(f"{path}: no hypothesis for {len(missing)} of {max(generated) + 1} sentences ({shown})")
    return [generated[number] for number in sorted(generated)]


def read_references(paths: list[Path], tab_separated: bool = False) -> list[list[str]]:
    """References of every sentence: from one file each, and with ``tab_separated`` several on a line.

    Sentences may have different numbers of references: empty ones are left out.

    Raises:
        BangError: if a file cannot be read, files differ in length or a sentence has no reference.
    """
    files = [read_lines(path) for path in paths]
    for path, lines in zip(paths, files):
        same_length(path, lines, paths[0], files[0])
    references = []
    for number, parts in enumerate(zip(*files), start=1):
        texts = [text for part in parts for text in (part.split("\t") if tab_separated else [part])]
        references.append([text for text in texts if text.strip()])
        if not references[-1]:
            raise BangError(f"{', '.join(map(str, paths))}: line {number} has no reference")
    return references


def same_length(left: Path, left_lines: Sized, right: Path, right_lines: Sized) -> None:
    """Check that two files have as many sentences.

    Raises:
        BangError: naming both files and counts, if they differ.
    """
    if len(left_lines) != len(right_lines):
        raise BangError(f"{left} has {len(left_lines)} sentences, but {right} has {len(right_lines)}")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path`` and put it in its place when it is complete.

    Raises:
        BangError: if the folder cannot be written to.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise BangError(f"{path}: {error.strerror}") from error
