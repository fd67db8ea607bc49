"""NAR: one chain after the empty prefix (paper section 3.3), grown until every sentence has ended."""

import torch

from .loop import Step
from .session import Session
from .state import DecodingState


def nar(session: Session, state: DecodingState, chunk: int):
    """Masks that predict y_1, y_2, … and see no real token.

    What a mask predicts does not depend on the masks behind it, so the chain grows ``chunk`` masks
    a pass with its keys and values cached: no length is guessed, and no result depends on ``chunk``.
    """
    session.skip_first_position()

    def step() -> Step:
        known = state.known
        size = min(chunk, int((known.max_lengths + 1 - known.lengths).max()))
        tokens, scores = state.choose(*session.masks(size))
        session.advance(size)
        return Step(tokens, scores, torch.full_like(state.lengths, size))

    return step
