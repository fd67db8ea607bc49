"""NAR with reranking: the most probable chains, of which AR (stream 1) chooses one in a further pass."""

from typing import Callable, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .loop import Step
from .session import Session
from .state import DecodingState

WINDOW = 1  # tokens by which a candidate's length may differ from that of NAR's own output


def best_of_candidates(
    session: Session, state: DecodingState, chunk: int, candidates: int, lenpen: float
) -> Callable[[], Step]:
    """Write the one of the ``candidates`` most probable chains that AR finds most probable.

    NAR chooses every token by itself, so that neighbours may belong to different sentences; stream 1 sees which
    ones fit together. The scores are AR's; chains of different lengths compare by ``sum / length ** lenpen``, as
    hypotheses of a beam do.
    """
    session.start_chain(state.eos)

    def step() -> Step:
        tokens = best_chains(session, state, chunk, candidates)
        scores = session.score(tokens, state.eos)
        lengths = (tokens != state.pad).sum(2)
        totals = scores.masked_fill(tokens == state.pad, 0).sum(2) / lengths.clamp(min=1) ** lenpen
        best = totals.masked_fill(lengths == 0, -torch.inf).argmax(1)
        rows = torch.arange(len(best), device=best.device)
        return Step(tokens[rows, best], scores[rows, best], lengths[rows, best])

    return step


def best_chains(session: Session, state: DecodingState, chunk: int, n: int) -> Tensor:
    """The ``n`` most probable chains of every sentence that end where NAR's own does, give or take ``WINDOW``.

    Without that bound the most probable chains of a sentence are those that end after a word or two, having fewer
    factors. Exact: a chain's tokens are independent given the source, so that n better beginnings of the same length
    would make n better chains with the same end.

    Returns:
        LongTensor ``(batch, n, len)``, each up to its end symbol and then padding; all padding where there are
        fewer than n.
    """
    bsz, device = state.lengths.numel(), state.lengths.device
    room = int(state.host.max_lengths.max()) + 1
    ranked: List[Tuple[Tensor, Tensor, Tensor]] = []  # per place: n tokens with log-probabilities, and the end symbol's
    ends = torch.full((bsz,), room, device=device)  # places of NAR's own end symbols, as far as they are known
    while len(ranked) < (places := min(room, int(ends.max()) + WINDOW + 1)):
        size = min(chunk, room - len(ranked))
        index = torch.arange(len(ranked), len(ranked) + size, device=device)
        tokens, lprobs, end = state.rank(*session.grow_chain(size), index.expand(bsz, -1), n)
        ends = torch.minimum(ends, index.masked_fill(end < lprobs[..., 0], room).amin(1))
        ranked += zip(tokens.unbind(1), lprobs.unbind(1), end.unbind(1))
    begun = whole = torch.zeros(bsz, n, 0, dtype=torch.long, device=device)
    # one beginning, of nothing, and no whole chain yet
    begun_scores, whole_scores = torch.full((2, bsz, n), -torch.inf, device=device)
    begun_scores[:, 0] = 0.0
    for place in range(places):
        tokens, lprobs, end = ranked[place]
        whole = torch.cat([F.pad(whole, (0, 1), value=state.pad), F.pad(begun, (0, 1), value=state.eos)], dim=1)
        ended = begun_scores + end.masked_fill((ends - place).abs() > WINDOW, -torch.inf).unsqueeze(1)
        whole_scores, kept = torch.cat([whole_scores, ended], dim=1).topk(n, dim=1)
        whole = _pick(whole, kept)
        begun_scores, kept = (begun_scores.unsqueeze(2) + lprobs.unsqueeze(1)).flatten(1).topk(n, dim=1)
        begun = torch.cat([_pick(begun, kept // n), tokens.gather(1, kept % n).unsqueeze(2)], dim=2)
    return whole.masked_fill(whole_scores.isneginf().unsqueeze(2), state.pad)


def _pick(chains: Tensor, rows: Tensor) -> Tensor:
    """``(batch, m, len)`` and ``(batch, n)`` -> ``(batch, n, len)``."""
    return chains.gather(1, rows.unsqueeze(2).expand(-1, -1, chains.size(2)))
