"""Confident: keep the tokens of a block that the chain itself is sure of, without a pass to verify them."""

import math
from typing import Callable

from .loop import Step
from .registry import register_decoding
from .semi_nar import draft_block
from .session import Session
from .state import DecodingState


@register_decoding("confident", help="blocks as far as their own chain is confident", likelihood="own")
def confident(session: Session, state: DecodingState, block_size: int, confidence: float) -> Callable[[], Step]:
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
