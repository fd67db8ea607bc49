"""NAR: one chain after the empty prefix (paper section 3.3), grown until every sentence has ended."""

import torch

from .loop import Writing
from .session import Session


def nar(session: Session, writing: Writing, chunk: int):
    """Mode of :class:`BlockGenerator`: masks that predict y_1, y_2, … and see no real token.

    What a mask predicts does not depend on the masks behind it, so the chain grows ``chunk`` masks
    a pass with its keys and values cached: no length is guessed, and no result depends on ``chunk``.
    """
    session.start_at(1)

    def step():
        room = int((writing.max_lengths + 1 - writing.lengths).max())
        size = min(chunk, room)
        drafted = writing.choose(*session.logits(None, size, 0))
        session.advance(size)
        return *drafted, torch.full_like(writing.lengths, size)

    return step
