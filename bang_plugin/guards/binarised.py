"""Binarised data: which dictionary it was made with, and whether it is whole.

fairseq stores token ids and nothing that tells what they mean. ``fairseq-preprocess`` is made to leave the
dictionary's fingerprint beside every file, and data are checked where they are opened, before training starts.
"""

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from fairseq.binarizer import Binarizer
from fairseq.data import Dictionary, indexed_dataset

from ..data.dictionary import fingerprint
from ..errors import BangError

CHUNK = 2**24  # ids that are looked at together


def note_path(prefix: str) -> str:
    """Where the fingerprint of ``prefix``.bin's dictionary is."""
    return f"{prefix}.dictionary.json"


def guarded_write(multiprocess_dataset: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``FileBinarizer.multiprocess_dataset``, which leaves the fingerprint beside its file."""

    @functools.wraps(multiprocess_dataset)
    def guarded(
        cls: type,
        input_file: str,
        dataset_impl: str,
        binarizer: Binarizer,
        output_prefix: str,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if dataset_impl == "fasta":
            raise BangError("--dataset-impl fasta: fairseq-preprocess cannot write it; leave the option out")
        summary = multiprocess_dataset(cls, input_file, dataset_impl, binarizer, output_prefix, *args, **kwargs)
        dictionary = getattr(binarizer, "dict", None)
        if dictionary is not None:
            size = os.path.getsize(indexed_dataset.data_file_path(output_prefix))
            note = {"sha256": fingerprint(dictionary), "types": len(dictionary), "bytes": size}
            with open(note_path(output_prefix), "w", encoding="utf-8") as file:
                print(json.dumps(note), file=file)
        return summary

    return guarded


def guarded_load(load: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``load_indexed_dataset``, checked."""

    @functools.wraps(load)
    def load_indexed_dataset(path: str, dictionary: Dictionary | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            dataset = load(path, dictionary, *args, **kwargs)
        except Exception as error:  # damaged bytes surface as almost anything
            raise BangError(f"{path}.idx: not whole, perhaps cut short or damaged ({error}); binarise again") from error
        for part in getattr(dataset, "datasets", [dataset]):
            if isinstance(part, indexed_dataset.MMapIndexedDataset):
                _check(part._path, part.sizes, np.dtype(part._index.dtype), dictionary)
            elif isinstance(part, MappedDataset):
                _check(part.path, part.sizes, part.cache.dtype, dictionary, first=1)
        return dataset

    return load_indexed_dataset


class MappedDataset(indexed_dataset.IndexedCachedDataset):
    """Data in fairseq's older format (``--dataset-impl lazy`` or ``cached``), mapped into memory.

    fairseq's ``cached`` is read before it is cached, and its ``lazy`` shares one open file, and so the place to read
    at, between all data-loading processes.
    """

    supports_prefetch = False

    def __init__(self, path: str, fix_lua_indexing: bool = False):
        super().__init__(path, fix_lua_indexing)
        numbers = len(self.dim_offsets) + len(self.data_offsets) + len(self.sizes)
        if os.path.getsize(indexed_dataset.index_file_path(path)) != 48 + 8 * numbers:
            raise ValueError("of another size than it says")  # where it ends early fairseq reads what was in memory
        file = indexed_dataset.data_file_path(path)
        self.cache = np.memmap(file, self.dtype, mode="r") if os.path.getsize(file) else np.empty(0, self.dtype)
        self.cache_index = self.data_offsets


def mapped(make_dataset: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``make_dataset``, with ``MappedDataset``."""

    @functools.wraps(make_dataset)
    def guarded(path: str, impl: str, fix_lua_indexing: bool = False, dictionary: Dictionary | None = None) -> Any:
        if impl in ("lazy", "cached") and indexed_dataset.IndexedDataset.exists(path):
            return MappedDataset(path, fix_lua_indexing)
        return make_dataset(path, impl, fix_lua_indexing, dictionary)

    return guarded


def _check(prefix: str, sizes: np.ndarray, dtype: np.dtype[Any], dictionary: Dictionary | None, first: int = 0) -> None:
    """Compare a file with its index and with the dictionary.

    Args:
        prefix: of the file.
        sizes: tokens in each sentence.
        dtype: of a token.
        dictionary: that the tokens should belong to.
        first: the number that stands for its first symbol.

    Raises:
        BangError: if the file is cut short or cannot have been made with ``dictionary``.
    """
    path = indexed_dataset.data_file_path(prefix)
    size = os.path.getsize(path)
    if size != int(np.sum(sizes, dtype=np.int64)) * dtype.itemsize:
        raise BangError(f"{path}: {size} bytes do not fit {prefix}.idx; one of them is cut short: binarise again")
    if dictionary is None or check_note(prefix, dictionary) or not size:
        return
    ids = np.memmap(path, dtype, mode="r")
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        if chunk.max() >= len(dictionary) + first or chunk.min() < first:
            raise BangError(
                f"{path}: holds token {int(chunk.max()) - first}, but the dictionary has only {len(dictionary)} types: "
                "it was binarised with another one"
            )


def check_note(prefix: str, dictionary: Dictionary) -> bool:
    """Whether ``prefix``.bin was made with ``dictionary``, by the note beside it; False without a note about its bytes.

    Raises:
        BangError: if it names another dictionary.
    """
    try:
        size = os.path.getsize(indexed_dataset.data_file_path(prefix))
        with open(note_path(prefix), encoding="utf-8") as file:
            note = json.load(file)
        if note["bytes"] != size:  # of an older file in the same place
            return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if note["sha256"] != fingerprint(dictionary):
        raise BangError(
            f"{prefix}.bin: binarised with another dictionary ({note['types']} types; the data folder's has "
            f"{len(dictionary)}, or another order): put that dictionary back or binarise again"
        )
    return True
