"""Which sentences the rows of a beam search belong to."""

from typing import Optional, Tuple

import torch
from torch import Tensor


def sentence_order(order: Tensor, sentences: int, beams: int) -> Tuple[Optional[Tensor], int]:
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
    sentence = order // beams
    each = order.numel() // sentences if beams == 1 and order.numel() > sentences > 0 else beams
    if order.numel() % each == 0:
        groups = sentence.view(-1, each)
        first = groups[:, 0]
        if torch.equal(groups, first.unsqueeze(1).expand_as(groups)):
            same = torch.equal(first, torch.arange(sentences, device=order.device))
            return (None if same else first), each
    return sentence, 1
