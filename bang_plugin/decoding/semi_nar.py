"""Semi-NAR: blocks of masks after the real prefix (paper section 3.3)."""

import torch

from .loop import Step
from .session import Session
from .writing import Writing


def draft_block(session: Session, writing: Writing, block_size: int):
    """One pass: the last step's tokens join the prefix, and a chain of masks follows it.

    Returns:
        tokens and log-probabilities of the next ``block_size`` outputs, ``(batch, block_size)``.
    """
    tokens, counts = writing.unread()
    logits = session.chains(tokens, block_size, counts)
    session.advance(counts, writing.known.fresh)
    return writing.choose(*logits)


def semi_nar(session: Session, writing: Writing, block_size: int):
    """Keep every block whole. A block of 1 is greedy AR."""

    def step() -> Step:
        tokens, scores = draft_block(session, writing, block_size)
        return Step(tokens, scores, torch.full_like(writing.lengths, block_size))

    return step
