"""Scores of generated text, each with a signature that says how it was computed; needs no torch."""

from .base import Number, Options, Score, Signature
from .metrics import METRICS
from .scoring import count, evaluate, pool, scores

__all__ = [
    "METRICS",
    "Number",
    "Options",
    "Score",
    "Signature",
    "count",
    "evaluate",
    "pool",
    "scores",
]
