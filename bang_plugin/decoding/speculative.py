"""Speculative: a drafted block is verified by stream 1, exactly or with a tolerance."""

from typing import Callable

import torch
from torch import Tensor

from .loop import Step
from .session import Session
from .state import DecodingState, Notes


def speculative(session: Session, state: DecodingState, block_size: int, tolerance: float = 0.0) -> Callable[[], Step]:
    """Verify a draft and, should all of it be right, draft the next block in the same pass.

    The draft's first token is stream 1's own choice and so already written. A pass reads the whole draft, with one
    mask after each of its tokens and a chain of ``block_size`` after the last. The masks, and the first of the
    chain, are stream 1's choices: they are written as long as they equal the draft, and so is the first one that
    differs. If all are equal, the chain is the next draft; else the next pass reads only the correction and drafts
    behind it.

    With a ``tolerance`` (nats) a drafted token counts as equal, and is written with stream 1's log-probability, if that
    is at least the choice's minus the tolerance. So 0 writes what greedy AR writes, and infinity what semi-NAR
    writes: blocks whole.
    """

    def step() -> Step:
        if state.draft is None or state.draft_counts is None or state.host.draft_counts is None:
            (draft, counts), host_counts = state.pending_tokens(), state.host.new_counts
        else:
            counts, host_counts = state.draft_counts, state.host.draft_counts
            draft = state.draft[:, : int(host_counts.max())]
        width = draft.size(1)
        logits, normaliser = session.chains(draft, block_size, counts, verify=True)
        # masks predict outputs lengths, lengths + 1, …, and the chain's those from its anchor on
        place = torch.arange(width - 1, device=draft.device).expand(len(draft), -1)
        ahead = (counts - 1).unsqueeze(1) + torch.arange(block_size, device=draft.device)
        index = state.lengths.unsqueeze(1) + torch.cat([place, ahead], dim=1)
        tokens, scores = state.choose(logits, normaliser, index, draft[:, 1:])
        block = tokens[:, width - 1 :]
        # the first of the chain goes where the last token's mask would stand
        tokens, scores = (_place(x[:, :width], counts - 1, x[:, width - 1]) for x in (tokens, scores))
        drafted, verified = draft[:, 1:], place < (counts - 1).unsqueeze(1)
        if state.notes:
            noted = (state.notes.tokens, state.notes.log_probabilities)
            others, likely = (_place(x[:, :width], counts - 1, x[:, width - 1]) for x in noted)
            state.notes = Notes(others, likely, drafted.masked_fill(~verified, -1))
        right = (tokens[:, :-1] == drafted) & verified
        if tolerance:
            # what may not be written is no draft, since a draft was chosen under the rules of the same places
            masks = logits[:, : width - 1].gather(2, drafted.unsqueeze(2)) - normaliser[:, : width - 1]
            lprobs = masks.squeeze(2)
            near = (lprobs >= scores[:, :-1] - tolerance) & verified & ~right
            tokens = torch.cat([torch.where(near, drafted, tokens[:, :-1]), tokens[:, -1:]], dim=1)
            scores = torch.cat([torch.where(near, lprobs, scores[:, :-1]), scores[:, -1:]], dim=1)
            right |= near
        kept = right.long().cumprod(1).sum(1) + 1
        _next_draft(state, block, tokens, kept, complete=kept == counts)
        return Step(tokens, scores, kept, host_counts, read=True)

    return step


def _place(values: Tensor, column: Tensor, new: Tensor) -> Tensor:
    places = column.view(-1, *[1] * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
    return values.scatter(1, places, new.unsqueeze(1))


def _next_draft(state: DecodingState, block: Tensor, tokens: Tensor, kept: Tensor, complete: Tensor) -> None:
    """The new block where the draft was right, elsewhere the correction alone, with anything behind it."""
    correction = tokens.gather(1, (kept - 1).unsqueeze(1))
    state.draft = torch.where(complete.unsqueeze(1), block, correction)
    state.draft_counts = torch.where(complete, block.size(1), 1)
