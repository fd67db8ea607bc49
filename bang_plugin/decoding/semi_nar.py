"""Semi-NAR: blocks of masks after the real prefix (paper section 3.3)."""

from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

from .loop import Step
from .option_table import SAMPLING
from .registry import register_decoding
from .session import Session
from .state import DecodingState


def draft_block(session: Session, state: DecodingState, block_size: int) -> Tuple[Tensor, Tensor]:
    """One pass: the last step's tokens join the prefix, and a chain of masks follows it.

    Returns:
        tokens and log-probabilities of the next ``block_size`` outputs, ``(batch, block_size)``.
    """
    tokens, counts = state.pending_tokens()
    logits = session.chains(tokens, block_size, counts)
    session.advance(counts, state.host.new_counts)
    return state.choose(*logits)


@register_decoding("semi_nar", help="blocks of --block-size tokens", likelihood="own", only_writing=SAMPLING)
def semi_nar(
    session: Session,
    state: DecodingState,
    block_size: int,
    sampling: Optional[bool] = None,
    sampling_topk: Optional[int] = None,
    sampling_topp: Optional[float] = None,
    temperature: Optional[float] = None,
) -> Callable[[], Step]:
    """Keep every block whole. A block of 1 is greedy AR. Samples are drawn for each token of a block by itself."""
    state.sample_by(sampling, sampling_topk, sampling_topp, temperature)

    def step() -> Step:
        tokens, scores = draft_block(session, state, block_size)
        return Step(tokens, scores, torch.full_like(state.lengths, block_size))

    return step
