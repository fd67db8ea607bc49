"""Binarised data: which dictionary it was made with, and whether it is whole.

fairseq stores token ids and nothing that tells what they mean. ``fairseq-preprocess`` is made to leave the
dictionary's fingerprint beside every file, and data are checked where they are opened, before training starts.
"""

import functools
import json
import os

import numpy as np
from fairseq.data import indexed_dataset

from ..data.dictionary import fingerprint
from ..errors import BangError

CHUNK = 2**24  # ids that are looked at together


def note_path(prefix: str) -> str:
    """Where the fingerprint of ``prefix``.bin's dictionary is."""
    return f"{prefix}.dictionary.json"


def guarded_write(multiprocess_dataset):
    """fairseq's ``FileBinarizer.multiprocess_dataset``, which leaves the fingerprint beside its file."""

    @functools.wraps(multiprocess_dataset)
    def guarded(cls, input_file, dataset_impl, binarizer, output_prefix, *args, **kwargs):
        summary = multiprocess_dataset(cls, input_file, dataset_impl, binarizer, output_prefix, *args, **kwargs)
        dictionary = getattr(binarizer, "dict", None)
        if dictionary is not None:
            size = os.path.getsize(indexed_dataset.data_file_path(output_prefix))
            note = {"sha256": fingerprint(dictionary), "types": len(dictionary), "bytes": size}
            with open(note_path(output_prefix), "w", encoding="utf-8") as file:
                print(json.dumps(note), file=file)
        return summary

    return guarded


def guarded_load(load):
    """fairseq's ``load_indexed_dataset``, checked."""

    @functools.wraps(load)
    def load_indexed_dataset(path, dictionary=None, *args, **kwargs):
        try:
            dataset = load(path, dictionary, *args, **kwargs)
        except Exception as error:  # damaged bytes surface as almost anything
            raise BangError(f"{path}.idx: not whole, perhaps cut short or damaged ({error}); binarise again") from error
        for part in getattr(dataset, "datasets", [dataset]):
            if isinstance(part, indexed_dataset.MMapIndexedDataset):
                _check(part._path, part, dictionary)
            elif isinstance(part, indexed_dataset.IndexedDataset) and dictionary is not None:
                _same_dictionary(part.path, os.path.getsize(indexed_dataset.data_file_path(part.path)), dictionary)
        return dataset

    return load_indexed_dataset


def _check(prefix: str, dataset, dictionary) -> None:
    """
    Raises:
        BangError: if the file is cut short or cannot have been made with ``dictionary``.
    """
    path, dtype = indexed_dataset.data_file_path(prefix), np.dtype(dataset._index.dtype)
    size = os.path.getsize(path)
    if size != int(np.sum(dataset.sizes, dtype=np.int64)) * dtype.itemsize:
        raise BangError(f"{path}: {size} bytes do not fit {prefix}.idx; one of them is cut short: binarise again")
    if dictionary is None or _same_dictionary(prefix, size, dictionary) or not size:
        return
    ids = np.memmap(path, dtype, mode="r")
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        if chunk.max() >= len(dictionary) or chunk.min() < 0:
            raise BangError(
                f"{path}: holds token {chunk.max()}, but the dictionary has only {len(dictionary)} types: "
                "it was binarised with another one"
            )


def _same_dictionary(prefix: str, size: int, dictionary) -> bool:
    """True if the note beside the data says so, False if there is no note about these bytes.

    Raises:
        BangError: if it names another dictionary.
    """
    try:
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
