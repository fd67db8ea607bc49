"""Real text that comes with Debian's package lists: a synopsis and a long description per package, and translations.

Two examples read them, `package_summaries` and `translation`. apt's own command fetches them into a folder of their
own, so that the system's lists stay as they are.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bang_plugin.errors import BangError

from .classification.docstrings import place
from .hub import Pair, write_pairs

APT_HELPER = Path("/usr/lib/apt/apt-helper")  # reads what Python's own library does not: .lz4, .zst
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SHARES = {"test": 0.035, "dev": 0.035}
FOLDER = "give --data FOLDER with *_i18n_Translation-* files, or with {train,dev,test}.{src,tgt}"
BULLET = re.compile(r"\s*\\?[-*+•·°o]\s+")  # at a line's start


@dataclass(frozen=True)
class Description:
    """What a list says about a package.

    Attributes:
        source: name of its source package without version (`gcc-12-cross` is `gcc`): siblings share it.
        key: checksum of the English text, by which translations are found.
        synopsis: one line.
        blocks: paragraphs and items of lists, a line each, without bullets.
    """

    source: str
    key: str
    synopsis: str
    blocks: tuple[str, ...]


def fetch(folder: Path, languages: Iterable[str]) -> None:
    """Let apt fetch its package lists into a folder.

    Raises:
        BangError: if there is no apt, or no list came.
    """
    if not shutil.which("apt-get"):
        raise BangError(f"there is no apt-get here, which fetches the package descriptions: {FOLDER}")
    (folder / "partial").mkdir()
    options = {
        "Dir::State::lists": folder,
        "Dir::Cache": folder,
        "Acquire::Languages": ",".join(languages),
        "Acquire::GzipIndexes": "false",
    }
    settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    folder.chmod(0o755)  # apt downloads as a user of its own
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["apt-get", "-q", *settings, "update"], capture_output=True, text=True, env=environment)
    missing = [language for language in languages if not _lists(folder, language)]
    if missing:
        said = (done.stderr.strip() or "it has no such list").splitlines()[0]
        raise BangError(f"apt-get update brought no Translation-{missing[0]} ({said[:200]}): {FOLDER}")


def read(folder: Path, language: str = "en") -> list[Description]:
    """All descriptions in a language that the lists of a folder hold, in their order.

    Where there is no list of packages beside them, the name of a package stands for its source's.

    Raises:
        BangError: if there are none.
    """
    lists = _lists(folder, language)
    if not lists:
        raise BangError(f"{folder}: no *_i18n_Translation-{language}, as apt keeps it, with anything in it")
    sources = {}
    for file in sorted(folder.glob("*_Packages*")):
        for record in records(file, ["Package", "Source"]):
            sources[record["Package"]] = record.get("Source", record["Package"]).split()[0]  # a version may follow
    if not sources:
        print(f"{folder}: no *_Packages: siblings are told by the packages' names, not by their sources'")
    field, found = f"Description-{language}", []
    for file in lists:
        for record in records(file, ["Package", "Description-md5", field]):
            if {"Package", "Description-md5", field} <= record.keys():
                synopsis, _, text = record[field].partition("\n")
                source = family(sources.get(record["Package"], record["Package"]))
                found.append(
                    Description(source, record["Description-md5"], " ".join(synopsis.split()), tuple(blocks(text)))
                )
    if not found:
        raise BangError(f"{lists[0]}: no package with a {field}")
    return found


def _lists(folder: Path, language: str) -> list[Path]:
    """Files with something in them; none of updates' and security's suites, which change from day to day."""
    files = sorted(folder.glob(f"*_i18n_Translation-{language}*"))
    wanted = re.compile(rf"(?!.*_dists_[^_]*-).*_i18n_Translation-{language}(\.\w+)?$")
    return [file for file in files if wanted.match(file.name) and file.stat().st_size]


def records(file: Path, fields: list[str]) -> Iterator[dict[str, str]]:
    """
    Raises:
        BangError: if the file cannot be read.
    """
    try:
        from debian.deb822 import Deb822
    except ImportError as error:
        raise BangError('package lists are read by python-debian: pip install "bang_plugin[examples]"') from error
    try:
        with _open(file) as lines:
            yield from map(dict, Deb822.iter_paragraphs(lines, fields, use_apt_pkg=False))
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise BangError(f"{file}: cannot be read ({error})") from error


def _open(file: Path) -> BinaryIO:
    if file.suffix not in (".lz4", ".zst"):
        return OPENERS.get(file.suffix, open)(file, "rb")
    if not APT_HELPER.exists():
        raise BangError(f"{file}: unpack it first, {APT_HELPER} is not there to do it")
    done = subprocess.run([APT_HELPER, "cat-file", file], capture_output=True)
    if done.returncode:
        raise BangError(f"{file}: {done.stderr.decode().strip().splitlines()[0]}")
    return io.BytesIO(done.stdout)


def family(source: str) -> str:
    """A source's name up to its first digit: `gcc-11`, `gcc-12-cross` and `gcc` are one."""
    return re.split(r"\d", source, maxsplit=1)[0].rstrip("-._+") or source


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and items of a description, as a list has them: each line begins with a blank.

    A line with a dot alone ends a paragraph, a bullet begins an item, and other lines go on with what they follow.
    """
    words: list[str] = []
    for line in text.split("\n"):
        bullet = BULLET.match(line)
        if bullet or line.strip() == ".":
            if words:
                yield " ".join(words)
            words = []
            line = line[bullet.end() :] if bullet else ""
        words += line.split()
    if words:
        yield " ".join(words)


def part_of(source: str) -> str:
    """``train``, ``dev`` or ``test``: that of all packages of a source package."""
    share = place(source)
    return "test" if share < SHARES["test"] else "dev" if share < sum(SHARES.values()) else "train"


def split(folder: Path, rows: Iterable[tuple[str, Pair]], most: int | None, targets_repeat: bool = False) -> None:
    """Write ``{train,dev,test}.{src,tgt}``: pairs by their source package, which decides their part.

    A pair is left out if either side is empty or stood in an earlier pair, or if both are equal.

    Args:
        targets_repeat: a target may stand in several pairs.
    """
    parts: dict[str, list[tuple[float, Pair]]] = {"train": [], "dev": [], "test": []}
    seen: tuple[set[str], set[str]] = (set(), set())
    for source, pair in rows:
        told = pair[:1] if targets_repeat else pair
        if not all(pair) or pair[0] == pair[1] or any(text in known for text, known in zip(told, seen)):
            continue
        for text, known in zip(pair, seen):
            known.add(text)
        parts[part_of(source)].append((place("\t".join(pair)), pair))
    for part, chosen in parts.items():
        # shuffled, and the same on every machine: a first part of it is a fair sample
        write_pairs(folder, part, [pair for _, pair in sorted(chosen)[:most]])


def sources(
    languages: tuple[str, ...], rows: Callable[[Path], Iterable[tuple[str, Pair]]], targets_repeat: bool = False
):
    """A recipe's ``source``, which fetches the lists, and its ``raw``, which reads them from a folder.

    Args:
        languages: to fetch.
        rows: source packages and pairs of a folder's lists: ``rows(folder)``.
        targets_repeat: see `split`.
    """

    def raw(data: Path, folder: Path, most: int | None) -> None:
        split(folder, rows(data), most, targets_repeat)

    def write(folder: Path, most: int | None) -> None:
        with tempfile.TemporaryDirectory() as lists:
            fetch(Path(lists), languages)
            raw(Path(lists), folder, most)

    return write, raw
