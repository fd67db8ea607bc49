"""Speculative: a drafted block is verified by stream 1, so that the output is that of greedy AR."""

import torch

from .loop import Step
from .session import Session
from .writing import Writing


def speculative(session: Session, writing: Writing, block_size: int):
    """Verify a draft and draft the next block in the same pass.

    The draft's first token is stream 1's own choice and so already written. A pass reads the whole draft
    as if it were right, with a chain of masks after each of its tokens. The first masks of the chains are
    stream 1's choices: as long as they confirm the draft they are written, and so is the one that does not. The
    chain behind the last confirmed token is the next draft; what else was read is overwritten.
    """

    def step() -> Step:
        if writing.draft is None:
            draft, _ = writing.unread()
        else:
            draft = writing.draft
        width = draft.size(1)
        logits, normaliser = session.chains(draft, block_size, after_each=True)
        # the chain after the draft's token i (0, 1, …) predicts outputs lengths + i, lengths + i + 1, …
        offset = torch.arange(width, device=draft.device).unsqueeze(1) + torch.arange(block_size, device=draft.device)
        index = writing.lengths.unsqueeze(1) + offset.flatten()
        tokens, scores = writing.choose(logits, normaliser, index)
        tokens, scores = tokens.unflatten(1, (width, block_size)), scores.unflatten(1, (width, block_size))
        confirmed = (tokens[:, :-1, 0] == draft[:, 1:]).long().cumprod(1).sum(1)
        writing.draft = tokens[torch.arange(len(draft), device=draft.device), confirmed]
        session.advance(confirmed + 1)
        return Step(tokens[:, :, 0], scores[:, :, 0], confirmed + 1)

    return step
