"""Adaptive: drafts are verified by stream 1 with a tolerance."""

from typing import Callable

from .loop import Step
from .registry import register_decoding
from .session import Session
from .speculative import speculative
from .state import DecodingState


@register_decoding("adaptive", help="drafts that are nearly as probable as greedy AR's choice", likelihood="ar")
def adaptive(session: Session, state: DecodingState, block_size: int, tolerance: float) -> Callable[[], Step]:
    """Keep drafted tokens that are at most ``tolerance`` nats less probable, by stream 1, than the best token."""
    return speculative(session, state, block_size, tolerance)
