"""The most probable chains of NAR: the n best as hypotheses, or AR's choice among them in a further pass."""

from typing import Any, Callable, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BangError
from .loop import Step
from .session import Session
from .state import DecodingState

WINDOW = 1  # tokens by which a candidate's length may differ from that of NAR's own output


def best_of_candidates(
    session: Session,
    state: DecodingState,
    chunk: int,
    candidates: int,
    nbest: int,
    lenpen: float,
    language_model: Any = None,
    weight: float = 0.0,
) -> Callable[[], Step]:
    """Write the best of NAR's chains, ``nbest`` of them.

    With several ``candidates`` AR finds the best of so many: NAR chooses every token by itself, so that neighbours may
    belong to different sentences; stream 1 sees which ones fit together. A ``language_model``'s log-probabilities are
    added, times its ``weight``, as fairseq's search adds them. The scores are these sums then, else NAR's; chains of
    different lengths compare by ``sum / length ** lenpen``, as hypotheses of a beam do.
    """
    session.start_chain(state.eos)

    def step() -> Step:
        tokens, scores = best_chains(session, state, chunk, max(candidates, nbest), lenpen)
        if candidates > 1:
            scores = session.score(tokens, state.eos)
            if language_model is not None:
                scores = scores + weight * by_language_model(language_model, tokens, state)
        lengths = (tokens != state.pad).sum(2)
        totals = scores.masked_fill(tokens == state.pad, 0).sum(2) / lengths.clamp(min=1) ** lenpen
        order = totals.masked_fill(lengths == 0, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, :nbest]
        tokens, scores, lengths = _pick(tokens, order), _pick(scores, order), lengths.gather(1, order)
        return Step(tokens[:, 0], scores[:, 0], lengths[:, 0], others=(tokens[:, 1:], scores[:, 1:]))

    return step


def by_language_model(language_model: Any, tokens: Tensor, state: DecodingState) -> Tensor:
    """Log-probabilities of outputs ``(batch, n, len)`` by one of fairseq's language models, which begins with y_0.

    Raises:
        BangError: for a model of another dictionary.
    """
    known = len(language_model.decoder.dictionary)
    if known != len(state.dictionary):
        raise BangError(f"--lm-path: its dictionary has {known} symbols, that of the outputs {len(state.dictionary)}")
    found = []
    for outputs in tokens.unbind(1):  # one after the other, since the vocabulary is large
        before = torch.cat([torch.full_like(outputs[:, :1], state.eos), outputs[:, :-1]], dim=1)
        lprobs = language_model.get_normalized_probs(language_model(before), log_probs=True, sample=None)
        found.append(lprobs.gather(2, outputs.unsqueeze(2)).squeeze(2).float())
    return torch.stack(found, dim=1)


def best_chains(
    session: Session, state: DecodingState, chunk: int, n: int, lenpen: float = 0.0
) -> Tuple[Tensor, Tensor]:
    """The ``n`` best chains of every sentence that end where NAR's own does, give or take ``WINDOW``.

    Without that bound the most probable chains of a sentence are those that end after a word or two, having fewer
    factors. Exact: a chain's tokens are independent given the source, so that n better beginnings of the same length
    would make n better chains with the same end.

    Args:
        n: how many.
        lenpen: chains are the better the greater ``sum of log-probabilities / length ** lenpen`` is.

    Returns:
        best first, tokens and NAR's log-probabilities, ``(batch, n, len)`` each: every chain up to its end symbol and
        then padding; all padding where there are fewer than n.
    """
    bsz, device = state.lengths.numel(), state.lengths.device
    room = int(state.host.max_lengths.max()) + 1
    ranked: List[Tuple[Tensor, Tensor, Tensor]] = []  # per pass: n tokens a place, their log-probabilities, the ends'
    ends = torch.full((bsz,), room, device=device)  # places of NAR's own end symbols, as far as they are known
    known = 0
    while known < (places := min(room, int(ends.max()) + WINDOW + 1)):
        size = min(chunk, room - known)
        index = torch.arange(known, known + size, device=device)
        tokens, lprobs, end = state.rank(*session.grow_chain(size), index.expand(bsz, -1), n)
        ends = torch.minimum(ends, index.masked_fill(end < lprobs[..., 0], room).amin(1))
        ranked.append((tokens, lprobs, end))
        known += size
    tokens, lprobs, end = (torch.cat(parts, dim=1)[:, :places] for parts in zip(*ranked))
    # a chain is written by ranks: those of a place's tokens, n for the end symbol, n + 1 for padding
    begun = whole = torch.zeros(bsz, n, 0, dtype=torch.long, device=device)
    # one beginning, of nothing, and no whole chain yet
    begun_scores, whole_scores = torch.full((2, bsz, n), -torch.inf, device=device)
    begun_scores[:, 0] = 0.0
    for place in range(places):
        whole = torch.cat([F.pad(whole, (0, 1), value=n + 1), F.pad(begun, (0, 1), value=n)], dim=1)
        ended = begun_scores + end[:, place].masked_fill((ends - place).abs() > WINDOW, -torch.inf).unsqueeze(1)
        whole_scores, kept = torch.cat([whole_scores, ended / (place + 1) ** lenpen], dim=1).topk(n, dim=1)
        whole = _pick(whole, kept)
        begun_scores, kept = (begun_scores.unsqueeze(2) + lprobs[:, place].unsqueeze(1)).flatten(1).topk(n, dim=1)
        begun = torch.cat([_pick(begun, kept // n), (kept % n).unsqueeze(2)], dim=2)
    whole = whole.masked_fill(whole_scores.isneginf().unsqueeze(2), n + 1)
    tokens = torch.cat([tokens, *(torch.full_like(tokens[..., :1], value) for value in (state.eos, state.pad))], dim=2)
    lprobs = torch.cat([lprobs, end.unsqueeze(2), torch.zeros_like(lprobs[..., :1])], dim=2)
    by_place = whole.transpose(1, 2)
    return tokens.gather(2, by_place).transpose(1, 2), lprobs.gather(2, by_place).transpose(1, 2)


def _pick(chains: Tensor, rows: Tensor) -> Tensor:
    """``(batch, m, len)`` and ``(batch, n)`` -> ``(batch, n, len)``."""
    return chains.gather(1, rows.unsqueeze(2).expand(-1, -1, chains.size(2)))
