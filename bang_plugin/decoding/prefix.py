"""``--prefix-size``: outputs that begin with given tokens, in the modes that write behind a prefix."""

import torch
from torch import Tensor

from .session import Session
from .state import DecodingState


def begin_with(session: Session, state: DecodingState, prefix: Tensor) -> None:
    """Write given tokens before the first step, with stream 1's log-probabilities, in one decoder pass.

    As in fairseq's search a sentence may have fewer tokens than others, or none, an end symbol among them ends it
    there, and no more are written than the length limit allows.

    Args:
        session: nothing read yet.
        state: nothing written yet.
        prefix: tokens, ``(batch, n)``, with padding behind those of shorter ones.
    """
    prefix = prefix.to(state.lengths.device)
    given = (prefix != state.pad) & (prefix != state.eos)
    counts = given.long().cumprod(1).sum(1)
    # what an end symbol asks for at the next place the length limit does there
    ends = torch.cat([prefix, torch.full_like(prefix[:, :1], state.pad)], dim=1).gather(1, counts.unsqueeze(1))
    limits = torch.where(ends.squeeze(1) == state.eos, torch.minimum(counts, state.max_lengths), state.max_lengths)
    counts = torch.minimum(counts, limits)
    known_counts, known_limits = torch.stack([counts, limits]).cpu().numpy()
    longest = int(known_counts.max())
    prefix = prefix[:, :longest]
    scores = prefix.new_zeros(prefix.shape, dtype=torch.float)
    if longest:
        before = torch.cat([torch.full_like(prefix[:, :1], state.eos), prefix[:, :-1]], dim=1)
        logits, normaliser = session.chains(before, 1, counts, verify=True)
        # one mask after each token but the last column's, and after the last that a sentence has its chain
        place = torch.arange(longest, device=prefix.device).expand_as(prefix)
        row = torch.where(place == counts.unsqueeze(1) - 1, longest - 1, place)
        lprobs = logits.gather(1, row.unsqueeze(2).expand_as(logits)) - normaliser.gather(1, row.unsqueeze(2))
        scores = lprobs.gather(2, prefix.unsqueeze(2)).squeeze(2)
        session.advance(counts, known_counts)
    state.begin(prefix, scores, counts, known_counts, limits, known_limits)
