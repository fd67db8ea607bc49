"""Adaptive: keep the tokens of a block that the model is confident of, and draft the others again."""

import math
from typing import Callable

from .loop import Step
from .registry import register_decoding
from .semi_nar import draft_block
from .session import Session
from .state import DecodingState


@register_decoding("adaptive", help="blocks as far as the model is confident", likelihood="own")
def adaptive(session: Session, state: DecodingState, block_size: int, confidence: float) -> Callable[[], Step]:
    """Keep a block's leading tokens while each has a probability of at least ``confidence``.

    The first token, which stream 1 predicts, is always kept: 0 is semi-NAR, above 1 is greedy AR.
    """
    threshold = math.log(confidence) if confidence > 0 else -math.inf

    def step() -> Step:
        tokens, scores = draft_block(session, state, block_size)
        confident = (state.certainty(scores) >= threshold).long()
        confident[:, 0] = 1
        return Step(tokens, scores, confident.cumprod(1).sum(1))

    return step
