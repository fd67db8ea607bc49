"""What the example reads: plain text to pretrain on, and pairs to fine-tune on."""

import ast
import gzip
import site
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from bang_plugin.errors import BangError
from examples.classification.docstrings import place
from examples.workspace import read_lines, write_lines
from scripts import pronunciations

VALID_SHARE = 0.02
DEV_PAIRS = 500
TEST_PAIRS = 1000  # beam search on a CPU takes its time


def text(folder: Path, source: Path | None, most: int | None) -> None:
    """Write ``text.train`` and ``text.valid``: a paragraph per line, an empty line after every document.

    Args:
        source: folder with ``*.txt`` files, a document each; None: the documentation of the installed packages.
        most: at most so many documents (for trials).

    Raises:
        BangError: if there is no text.
    """
    documents = islice(files(source) if source else documentation(), most)
    parts: dict[str, list[str]] = {"train": [], "valid": []}
    for document in documents:
        part = "valid" if place(document[0]) < VALID_SHARE else "train"
        parts[part] += [*document, ""]
    if not parts["train"]:
        raise BangError(f"{source or 'installed packages'}: no text to pretrain on")
    if not parts["valid"]:  # too few documents for a share of them
        parts["valid"] = parts["train"][:100]
    for part, lines in parts.items():
        write_lines(folder / f"text.{part}", lines)
        print(f"text, {part}: {sum(len(line) for line in lines) / 1e6:.1f} million characters")


def files(source: Path) -> Iterator[list[str]]:
    """Paragraphs of every ``*.txt`` file below a folder."""
    if not source.is_dir():
        raise BangError(f"--text {source}: no such folder")
    for file in sorted(source.rglob("*.txt")):
        paragraphs = [line for line in read_lines(file) if line.strip()]
        if paragraphs:
            yield paragraphs


def documentation() -> Iterator[list[str]]:
    """Paragraphs of the docstrings of every installed module, a module being a document; in lower case, each once.

    The source files are parsed, not imported.
    """
    seen = set()
    for file in tqdm(sorted(Path(site.getsitepackages()[0]).rglob("*.py")), desc="documentation", unit="file"):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, RecursionError):  # templates, and tests of parsers
            continue
        document = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    words = paragraph.split()
                    # prose: a few words at least, no listings
                    if len(words) >= 8 and ">>>" not in paragraph and paragraph not in seen:
                        seen.add(paragraph)
                        document.append(" ".join(words).lower())
        if document:
            yield document


def pairs(folder: Path, source: Path | None, most: int | None) -> str:
    """Write ``{train,dev,test}.{src,tgt}`` and say what they are.

    Args:
        source: folder with sentence and question pairs ``{src,tgt}-{dev,test}.txt.gz``; None: the demo's spellings
            and pronunciations.
        most: at most so many pairs of each part.
    """
    if source is None:
        pronunciations.write(folder, most)
        for side in ("src", "tgt"):
            (folder / f"valid.{side}").rename(folder / f"dev.{side}")
        return "spelling to phonemes"
    for side in ("src", "tgt"):
        lines = {part: _unzip(source / f"{side}-{part}.txt.gz") for part in ("dev", "test")}
        # the public training part is not needed here: the dev part is large enough for small models
        write_lines(folder / f"train.{side}", lines["dev"][DEV_PAIRS:][:most])
        write_lines(folder / f"dev.{side}", lines["dev"][:DEV_PAIRS][:most])
        write_lines(folder / f"test.{side}", lines["test"][:TEST_PAIRS][:most])
    return "sentence to question"


def _unzip(file: Path) -> list[str]:
    if not file.exists():
        raise BangError(f"{file}: no such file")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]
