"""Decoding: the loop and the cache's session that all modes share, the modes, and what a mode of one's own needs."""

import fairseq  # noqa: F401  (registers everything before any of these modules is half imported)

# the modes, in the order in which help and messages list them
from . import autoregressive, nar, semi_nar, confident, adaptive, lookahead  # noqa: F401, I001  # isort: skip
from .hypothesis import Hypothesis
from .loop import Step
from .observers import BatchEvent, Observer, PassEvent, subscribe
from .registry import GeneratorRequest, register_decoding
from .semi_nar import draft_block
from .session import Session
from .state import DecodingState

__all__ = [
    "BatchEvent",
    "DecodingState",
    "GeneratorRequest",
    "Hypothesis",
    "Observer",
    "PassEvent",
    "Session",
    "Step",
    "draft_block",
    "register_decoding",
    "subscribe",
]
