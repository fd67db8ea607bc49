"""What the example reads: plain text to pretrain on, and pairs to fine-tune on."""

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from bang_plugin.errors import BangError
from examples import descriptions, package_summaries
from examples.classification.docstrings import place
from examples.prepare import copy
from examples.workspace import read_lines, write_lines

VALID_SHARE = 0.02


def write(folder: Path, text: Path | None, pairs: Path | None, most: int | None) -> None:
    """Write ``text.{train,valid}`` and ``{train,dev,test}.{src,tgt}``.

    Args:
        text: folder with ``*.txt`` files, a document each; None: Debian's package descriptions, those of the pairs'
            test set left out.
        pairs: folder with ``{train,dev,test}.{src,tgt}``; None: the pairs of `package_summaries`.
        most: at most so many documents, and pairs of each part (for trials).

    Raises:
        BangError: if there is no text, or a file is missing.
    """
    with tempfile.TemporaryDirectory() as lists:
        if text is None or pairs is None:
            descriptions.fetch(Path(lists), ("en",))
        write_text(folder, files(text) if text else described(Path(lists)), most, text)
        if pairs is None:
            package_summaries.RAW(Path(lists), folder, most)
        else:
            copy(pairs, folder, most)


def write_text(folder: Path, documents: Iterable[tuple[bool, list[str]]], most: int | None, source: Path | None):
    """Write ``text.train`` and ``text.valid``: a paragraph per line, an empty line after every document.

    Args:
        documents: whether to validate on it, and its paragraphs.
    """
    parts: dict[str, list[str]] = {"train": [], "valid": []}
    for validated, document in islice(documents, most):
        parts["valid" if validated else "train"] += [*document, ""]
    if not parts["train"]:
        raise BangError(f"{source or 'package descriptions'}: no text to pretrain on")
    if not parts["valid"]:  # too few documents for a share of them
        parts["valid"] = parts["train"][:100]
    for part, lines in parts.items():
        write_lines(folder / f"text.{part}", lines)
        print(f"text, {part}: {sum(len(line) for line in lines) / 1e6:.1f} million characters")


def files(source: Path) -> Iterator[tuple[bool, list[str]]]:
    """Paragraphs of every ``*.txt`` file below a folder."""
    if not source.is_dir():
        raise BangError(f"--text {source}: no such folder")
    for file in sorted(source.rglob("*.txt")):
        paragraphs = [line for line in read_lines(file) if line.strip()]
        if paragraphs:
            yield place(paragraphs[0]) < VALID_SHARE, paragraphs


def described(lists: Path) -> Iterator[tuple[bool, list[str]]]:
    """Long descriptions, each once; those of the pairs' dev set to validate on, those of their test set not at all."""
    seen = set()
    for description in descriptions.read(lists):
        part = descriptions.part_of(description.source)
        if description.blocks and description.blocks not in seen and part != "test":
            seen.add(description.blocks)
            yield part == "dev", list(description.blocks)
