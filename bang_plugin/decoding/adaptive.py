"""Adaptive: keep of every block what the model is sure of, and draft the rest again."""

import math

from .loop import Step
from .semi_nar import draft_block
from .session import Session
from .state import DecodingState


def adaptive(session: Session, state: DecodingState, block_size: int, confidence: float):
    """Keep a block's leading tokens while each has a probability of at least ``confidence``.

    The first token, which stream 1 predicts, is always kept: 0 is semi-NAR, above 1 is greedy AR.
    """
    threshold = math.log(confidence) if confidence > 0 else -math.inf

    def step() -> Step:
        tokens, scores = draft_block(session, state, block_size)
        sure = (state.certainty(scores) >= threshold).long()
        sure[:, 0] = 1
        return Step(tokens, scores, sure.cumprod(1).sum(1))

    return step
