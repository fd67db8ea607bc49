"""Training data in several folders, one an epoch: found wanting before the first epoch, not in the second."""

import os
from collections.abc import Iterable

from fairseq import utils
from fairseq.data import Dictionary

from ..errors import BangError
from ..guards.binarised import check_note


def check_folders(data: str, sides: Iterable[tuple[list[str], Dictionary]]) -> None:
    """Look for the training data in every folder.

    Args:
        data: folders separated by colons.
        sides: for each part of a sample the names, without ``.bin``, that its file may have, and its dictionary.

    Raises:
        BangError: if a folder lacks a file, or a file belongs to another dictionary.
    """
    for folder in utils.split_paths(data):
        for names, dictionary in sides:
            prefixes = [os.path.join(folder, name) for name in names]
            found = [p for p in prefixes if os.path.exists(f"{p}.bin") or os.path.exists(p)]
            if not found:
                raise BangError(f"{prefixes[0]}: no such data; training goes through all folders of {data}")
            check_note(found[0], dictionary)
