"""Speculative decoding with drafting and verifying in passes of their own, to compare the two arrangements."""

import torch

from bang_plugin.decoding.loop import Step
from bang_plugin.decoding.session import Session
from bang_plugin.decoding.state import DecodingState


def separate_speculative(session: Session, state: DecodingState, block_size: int):
    """Draft a block in one pass, verify it in the next; the output is that of greedy AR.

    A draft that is all right is followed by a pass that only drafts, which
    ``bang_plugin.decoding.speculative.speculative`` saves by ``block_size`` more masks in each verifying pass.
    """

    def step() -> Step:
        if not state.host.lengths.any():
            last, _ = state.pending_tokens()
        else:
            # of what the last step wrote, only the correction at its end has not been read
            last = state.written.gather(1, state.lengths.unsqueeze(1) - 1)
        draft, draft_scores = state.choose(*session.chains(last, block_size))
        session.advance(1)
        index = state.lengths.unsqueeze(1) + torch.arange(1, block_size + 1, device=draft.device)
        tokens, scores = state.choose(*session.chains(draft, 1, verify=True), index)
        confirmed = (tokens[:, :-1] == draft[:, 1:]).long().cumprod(1).sum(1)
        session.advance(confirmed + 1)
        return Step(
            torch.cat([draft[:, :1], tokens], dim=1), torch.cat([draft_scores[:, :1], scores], dim=1), confirmed + 2
        )

    return step
