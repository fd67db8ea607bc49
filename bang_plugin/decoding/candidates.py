"""NAR with a second look: the most probable chains, judged by stream 1 in one more pass."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .loop import Step
from .session import Session
from .writing import Writing


def nar_candidates(session: Session, writing: Writing, chunk: int, candidates: int):
    """Write the one of the ``candidates`` most probable chains that AR finds most probable.

    NAR chooses every token by itself, so that neighbours may belong to different sentences; stream 1 sees which
    ones fit together. The scores are AR's.
    """
    session.skip_first_position()

    def step() -> Step:
        tokens = best_chains(session, writing, chunk, candidates)
        scores = session.score(tokens, writing.eos)
        real = tokens != writing.pad
        best = scores.masked_fill(~real, 0).sum(2).masked_fill(~real.any(2), -torch.inf).argmax(1)
        rows = torch.arange(len(best), device=best.device)
        return Step(tokens[rows, best], scores[rows, best], real[rows, best].sum(1))

    return step


def best_chains(session: Session, writing: Writing, chunk: int, n: int) -> Tensor:
    """The ``n`` most probable chains of every sentence, each up to its end symbol and then padding.

    Exact: a chain's tokens are independent given the source, so that n better beginnings of the same length would
    make n better chains with the same end.

    Returns:
        LongTensor ``(batch, n, len)``; all padding where there are fewer than n.
    """
    bsz, device = writing.lengths.numel(), writing.lengths.device
    room = int(writing.known.max_lengths.max()) + 1
    begun = whole = torch.zeros(bsz, n, 0, dtype=torch.long, device=device)
    # one beginning, of nothing, and no whole chain yet
    begun_scores, whole_scores = torch.full((2, bsz, n), -torch.inf, device=device)
    begun_scores[:, 0] = 0.0
    ranked = []
    while (begun_scores[:, 0] > whole_scores[:, -1]).any():
        place = begun.size(2)
        if place == len(ranked):
            size = min(chunk, room - place)
            index = torch.arange(place, place + size, device=device).expand(bsz, -1)
            ranked += zip(*(part.unbind(1) for part in writing.rank(*session.masks(size), index, n)))
            session.advance(size)
        tokens, lprobs, end = ranked[place]
        whole = torch.cat([F.pad(whole, (0, 1), value=writing.pad), F.pad(begun, (0, 1), value=writing.eos)], dim=1)
        whole_scores, kept = torch.cat([whole_scores, begun_scores + end.unsqueeze(1)], dim=1).topk(n, dim=1)
        whole = _pick(whole, kept)
        begun_scores, kept = (begun_scores.unsqueeze(2) + lprobs.unsqueeze(1)).flatten(1).topk(n, dim=1)
        begun = torch.cat([_pick(begun, kept // n), tokens.gather(1, kept % n).unsqueeze(2)], dim=2)
    return whole.masked_fill(whole_scores.isneginf().unsqueeze(2), writing.pad)


def _pick(chains: Tensor, rows: Tensor) -> Tensor:
    """``(batch, m, len)`` and ``(batch, n)`` -> ``(batch, n, len)``."""
    return chains.gather(1, rows.unsqueeze(2).expand(-1, -1, chains.size(2)))
