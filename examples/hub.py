"""Data sets from their public home, by the package ``datasets``."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from bang_plugin.errors import BangError

from .workspace import write_lines

Pair = tuple[str, str]


def source(dataset: str, pairs: Callable[[dict], Iterable[Pair]], parts: dict[str, str]):
    """A recipe's ``source`` that reads a hub's data set.

    Args:
        dataset: its name there.
        pairs: sources and targets of one record.
        parts: name there of ``train``, ``dev`` and ``test``.
    """

    def write(folder: Path, most: int | None) -> None:
        for part, name in parts.items():
            write_pairs(folder, part, _first(_pairs(records(dataset, name), pairs, part), most))

    return write


def own_copy(data: str, terms: str):
    """A recipe's ``source`` of data that no hub has in the published split: the user has to bring them.

    Args:
        data: their name.
        terms: whose they are, and on what terms.
    """

    def write(folder: Path, most: int | None) -> None:
        raise BangError(f"{data} cannot be fetched ({terms}): give --data FOLDER with {{train,dev,test}}.{{src,tgt}}")

    return write


def records(dataset: str, part: str):
    """
    Raises:
        BangError: if ``datasets`` is missing, or the data set cannot be had.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise BangError(
            f"{dataset} comes from the data sets' hub: pip install datasets, or give --data FOLDER with your own copy"
        ) from error
    try:
        return load_dataset(dataset, split=part)
    except Exception as error:  # no network, no such data set, a changed format: each library has its own errors
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BangError(f"{dataset} could not be fetched ({reason[:200]}); give --data FOLDER with a copy") from error


def _pairs(rows, pairs, part: str):
    for record in tqdm(rows, desc=part, unit="record"):
        yield from pairs(record)


def _first(pairs: Iterable[Pair], most: int | None) -> list[Pair]:
    taken = []
    for pair in pairs:
        if len(taken) == most:
            break
        taken.append(pair)
    return taken


def write_pairs(folder: Path, part: str, pairs: Iterable[Pair]) -> None:
    """Write ``part.src`` and ``part.tgt``, blanks and line ends inside a text becoming single blanks."""
    pairs = [tuple(" ".join(text.split()) for text in pair) for pair in pairs]
    write_lines(folder / f"{part}.src", (source for source, _ in pairs))
    write_lines(folder / f"{part}.tgt", (target for _, target in pairs))
