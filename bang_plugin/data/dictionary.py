"""Dictionaries: fairseq's own, or a BERT vocabulary file as the official release uses it."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any, TextIO

from fairseq.data import Dictionary

from ..errors import BangError

BERT_SPECIAL = {"bos": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]"}


class BertDictionary(Dictionary):
    """A BERT vocabulary: every line is a symbol, special ones included, with or without a count.

    ``[PAD]``, ``[CLS]`` (bos), ``[SEP]`` (eos), ``[UNK]`` and ``[MASK]`` stand where the file has them;
    ``nspecial`` is 999, the end of BERT's block of reserved symbols, as in the release.
    """

    def __init__(self) -> None:
        super().__init__(**BERT_SPECIAL, add_special_symbols=False)
        self.bos_word, self.pad_word, self.eos_word, self.unk_word = (
            BERT_SPECIAL[name] for name in ("bos", "pad", "eos", "unk")
        )

    @classmethod
    def load(cls, path: str) -> "BertDictionary":
        """Read a vocabulary file.

        Raises:
            BangError: if a special symbol is missing or a symbol occurs twice, naming file and line.
        """
        d = cls()
        for number, (symbol, count) in enumerate(read_symbols(path), start=1):
            if symbol in d.indices:
                first = d.indices[symbol] + 1
                raise BangError(f"{path}, line {number}: symbol {symbol!r} stands on line {first} already")
            d.indices[symbol] = len(d.symbols)
            d.symbols.append(symbol)
            d.count.append(count)
        missing = [s for s in (*BERT_SPECIAL.values(), "[MASK]") if s not in d.indices]
        if missing:
            raise BangError(f"{path}: a BERT vocabulary needs {', '.join(missing)}")
        d.bos_index, d.pad_index = d.indices["[CLS]"], d.indices["[PAD]"]
        d.eos_index, d.unk_index = d.indices["[SEP]"], d.indices["[UNK]"]
        d.nspecial = min(999, len(d))
        return d

    def save(self, f: str | TextIO) -> None:
        """Write all symbols, special ones included, so that loading gives the same indices."""
        self._save(f, zip(self.symbols, self.count))


def read_symbols(path: str) -> Iterator[tuple[str, int]]:
    """Yield (symbol, count) of a dictionary file; the count is 1 where the line has none.

    Raises:
        BangError: if the file cannot be read as UTF-8 text.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                symbol, _, count = line.rstrip("\n\r").rpartition(" ")
                if symbol and count.isdigit():
                    yield symbol, int(count)
                else:
                    yield line.rstrip("\n\r"), 1
    except UnicodeDecodeError as error:
        raise BangError(f"{path}: not UTF-8 text ({error})") from error
    except OSError as error:
        hint = "; is this a folder that fairseq-preprocess wrote?" if os.path.basename(path).startswith("dict.") else ""
        raise BangError(f"{path}: {error.strerror}{hint}") from error


def load_dictionary(path: str) -> Dictionary:
    """Load a BERT vocabulary if the file lists ``[PAD]``, ``[SEP]`` and ``[UNK]``, else fairseq's format.

    Raises:
        BangError: if the file is malformed; names the file and, where it can, the line.
    """
    symbols = {symbol for symbol, _ in read_symbols(path)}
    if {"[PAD]", "[SEP]", "[UNK]"} <= symbols:
        return BertDictionary.load(path)
    try:
        return Dictionary.load(path)
    except (RuntimeError, ValueError) as error:
        raise BangError(f"{path}: {error}") from error


def identity(dictionary: Dictionary) -> dict[str, Any]:
    """What checkpoints remember of the dictionary that their parameters belong to."""
    return {"types": len(dictionary), "sha256": fingerprint(dictionary)}


def check_same(theirs: dict[str, Any] | None, dictionary: Dictionary, name: str) -> None:
    """Compare the dictionary of a checkpoint with that of the data.

    Args:
        theirs: ``identity`` of the checkpoint's, or None if it does not tell.
        dictionary: of the data.
        name: of the checkpoint.

    Raises:
        BangError: if that is another dictionary.
    """
    ours = identity(dictionary)
    if theirs is not None and theirs != ours:
        raise BangError(
            f"{name}: trained with another dictionary ({theirs['types']} types; the data folder's has "
            f"{ours['types']}, or another order): binarise with the model's own (fairseq-preprocess --srcdict)"
        )


def fingerprint(dictionary: Dictionary) -> str:
    """Hash of the symbols in their order: equal exactly for dictionaries that mean the same indices."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode("utf-8", "surrogatepass")).hexdigest()
