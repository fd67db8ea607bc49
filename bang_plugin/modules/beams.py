"""Which sentences the rows of a beam search belong to."""

import numpy as np
from torch import Tensor


def rows_of(order: Tensor) -> np.ndarray:
    """The numbers in ``order``, for Python to decide by.

    fairseq hands one tensor to the encoder and to the caches of all models. It remembers its numbers, so that a GPU is
    waited for once.
    """
    if order.is_inference():  # nothing tells whether such a tensor has been changed since
        return order.cpu().numpy()
    known: tuple[int, np.ndarray] | None = getattr(order, "bang_rows", None)
    if known is not None and known[0] == order._version:
        return known[1]
    rows = order.cpu().numpy()
    remember_rows(order, rows)
    return rows


def remember_rows(order: Tensor, rows: np.ndarray) -> Tensor:
    """``order`` itself, whose numbers are known to be ``rows``."""
    if not order.is_inference():
        order.bang_rows = order._version, rows  # type: ignore[attr-defined]  # an attribute of our own
    return order


def sentence_order(order: Tensor, sentences: int, beams: int) -> tuple[Tensor | None, int]:
    """What a new order of rows means for what is held once per sentence.

    Rows are the beams of the first sentence, then those of the second, and so on.

    Args:
        order: rows to keep, ``(new rows,)``; a first order may repeat each sentence to make its beams.
        sentences: held now.
        beams: rows of each now.

    Returns:
        the sentences to keep, or None if they all stay as they are; and the rows that each then has. Rows
        that do not keep their sentence's beams together become sentences of their own.
    """
    sentence = rows_of(order) // beams
    each = len(sentence) // sentences if beams == 1 and len(sentence) > sentences > 0 else beams
    if len(sentence) % each == 0:
        groups = sentence.reshape(-1, each)
        first = groups[:, 0]
        if (groups == first[:, None]).all():
            if np.array_equal(first, np.arange(sentences)):
                return None, each
            return remember_rows(order[::each] // beams, first), each
    return remember_rows(order // beams, sentence), 1
