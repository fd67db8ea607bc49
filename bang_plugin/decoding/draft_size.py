"""How far the look-ahead search reads ahead: as asked for, or as it pays where it runs."""

import time
import weakref
from typing import Any, Dict, List, NamedTuple, Optional

import torch

from .tree import Growth

# Rows of a tree for each beam, and the share of steps that need a pass, as on a model of spelling: 4 beams, blocks of
# 4. It is higher where guesses are harder, which shows as sentences are written; who hopes too little never finds out.
_PRIOR_STEPS = 100
# Python's time for each tree in a pass, seconds
_BOOKKEEPING = 5e-4
# expected gain from which a tree is read at all
_WORTHWHILE = 0.95


class PassCost(NamedTuple):
    """Time of a decoder pass, in seconds: ``fixed`` and ``row`` for each of its rows."""

    fixed: float
    row: float


class _Size:
    """One size of a tree and what is known of it."""

    def __init__(self, growth: Growth, rows: float, share: float):
        self.growth, self.rows = growth, rows
        self.steps, self.passes = float(_PRIOR_STEPS), share * _PRIOR_STEPS

    def seconds(self, cost: PassCost, sentences: int) -> float:
        """Expected time of a step of the search."""
        share = min(self.passes / self.steps, 1.0)
        some = 1 - (1 - share) ** sentences
        return some * cost.fixed + share * sentences * (cost.row * self.rows + _BOOKKEEPING)


class DraftSize:
    """Chooses the size of the trees of a batch.

    Args:
        models: an ensemble.
        beams: of the search.
        width: most prefixes of one length that a pass reads ahead; None: whatever is expected to be fastest, which may
            be not to read ahead.
        depth: most tokens of a branch.
        longest: most tokens of a prefix.
    """

    def __init__(self, models: List[Any], beams: int, width: Optional[int], depth: int, longest: int):
        self.models, self.beams = models, beams
        self.fixed = Growth(width, depth, longest, beams) if width else None
        self.sizes = [
            _Size(Growth(beams, depth, longest, 0), 7 * beams, 0.58),
            _Size(Growth(2 * beams, depth, longest, beams), 18 * beams, 0.46),
        ]

    def choose(self, sentences: int) -> Optional[Growth]:
        """For a batch of so many; None: do not read ahead."""
        if self.fixed:
            return self.fixed
        cost = pass_cost(self.models)
        best = min(self.sizes, key=lambda size: size.seconds(cost, sentences))
        plain = cost.fixed + cost.row * 2 * self.beams * sentences
        return best.growth if best.seconds(cost, sentences) < _WORTHWHILE * plain else None

    def note(self, growth: Growth, steps: int, passes: int) -> None:
        """What a batch has taken, summed over its sentences."""
        for size in self.sizes:
            if size.growth == growth:
                size.steps += steps
                size.passes += passes


_MEASURED: "weakref.WeakKeyDictionary[Any, PassCost]" = weakref.WeakKeyDictionary()


def pass_cost(models: List[Any]) -> PassCost:
    """Time of a pass of all models together, measured when a model is first asked about."""
    for model in models:
        if model not in _MEASURED:
            _MEASURED[model] = _measure(model)
    costs = [_MEASURED[model] for model in models]
    return PassCost(sum(cost.fixed for cost in costs), sum(cost.row for cost in costs))


def _measure(model: Any, few: int = 4, many: int = 32, rounds: int = 6) -> PassCost:
    """By passes over few and many tokens in turn, with a mask behind each: the shortest of each count."""
    _seconds(model, many)
    short, long = (min(times) for times in zip(*((_seconds(model, few), _seconds(model, many)) for _ in range(rounds))))
    row = max(long - short, 0.0) / (2 * (many - few))
    return PassCost(max(short - 2 * few * row, 0.0), row)


@torch.no_grad()
def _seconds(model: Any, tokens: int) -> float:
    decoder = model.decoder
    embedding = decoder.embed_tokens.weight
    prefix = torch.full((1, tokens), decoder.padding_idx + 1, device=embedding.device)
    memory = embedding.new_zeros(16, 1, model.cfg.encoder_embed_dim)
    encoder_out: Dict[str, Any] = {"encoder_out": [memory], "encoder_padding_mask": []}
    cache = decoder.new_cache(1)
    streams = cache.plan(tokens, 1, verify=True)
    passes, started = decoder.num_passes, _now(embedding)
    decoder.output_layer(decoder.rows(prefix, streams, encoder_out, cache, skip=tokens)).float().log_softmax(-1)
    decoder.num_passes = passes
    return _now(embedding) - started


def _now(tensor: torch.Tensor) -> float:
    if not tensor.is_cuda:
        return time.thread_time()  # other processes do not change what pays
    torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
