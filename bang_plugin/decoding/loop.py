"""The loop that all modes but beam search share: draft, keep, until every sentence has ended."""

from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

import torch
from torch import Tensor

from ..errors import BangError
from .session import Session


@dataclass
class Limits:
    """What may be written, with fairseq's option names and meaning."""

    max_len_a: float = 0.0
    max_len_b: int = 200
    min_len: int = 1
    unkpen: float = 0.0

    def max_lengths(self, src_lengths: Tensor, positions: int) -> Tensor:
        """Most tokens before the end symbol, per sentence ``(batch,)``."""
        wanted = (self.max_len_a * src_lengths + self.max_len_b).long()
        return wanted.clamp(max=positions - 1)


class Writing:
    """Tokens and scores of the sentences that are still being written.

    Attributes:
        written: tokens so far, ``(batch, room)``; columns past ``lengths`` are unset.
        lengths: tokens so far, ``(batch,)``.
    """

    def __init__(self, dictionary, limits: Limits, max_lengths: Tensor):
        self.pad, self.eos, self.unk = dictionary.pad(), dictionary.eos(), dictionary.unk()
        self.limits = limits
        self.max_lengths = max_lengths
        bsz, room = len(max_lengths), int(max_lengths.max()) + 1
        self.rows = torch.arange(bsz, device=max_lengths.device)  # place in the original batch
        self.lengths = torch.zeros_like(max_lengths)
        self.written = torch.full((bsz, room), self.pad, device=max_lengths.device)
        self.scores = torch.zeros(bsz, room, device=max_lengths.device)

    def choose(self, logits: Tensor, normaliser: Tensor, first: Optional[Tensor] = None):
        """Most probable tokens under fairseq's rules: no padding, no end before ``min_len``, the end
        and nothing else at the length limit.

        Args:
            logits: ``(batch, n, vocab)``, changed in place; row j predicts output ``first + j``.
            normaliser: ``(batch, n, 1)``, such that ``logits - normaliser`` are log-probabilities.
            first: index of the first predicted output, ``(batch,)``; default: the next one.

        Returns:
            tokens and log-probabilities, ``(batch, n)``.
        """
        first = self.lengths if first is None else first
        index = first.unsqueeze(1) + torch.arange(logits.size(1), device=logits.device)
        end = logits[..., self.eos] - normaliser.squeeze(-1)
        logits[..., self.pad] = -torch.inf
        if self.limits.unkpen:
            logits[..., self.unk] -= self.limits.unkpen
        logits[..., self.eos].masked_fill_(index < self.limits.min_len, -torch.inf)
        best, tokens = logits.max(-1)
        forced = index >= self.max_lengths.unsqueeze(1)
        tokens = tokens.masked_fill(forced, self.eos)
        return tokens, torch.where(forced, end, best - normaliser.squeeze(-1))

    def keep(self, tokens: Tensor, scores: Tensor, counts: Tensor) -> Tensor:
        """Append each sentence's first ``counts`` drafted tokens, up to the end symbol.

        Args:
            tokens, scores: ``(batch, n)``.
            counts: at least 1, ``(batch,)``.

        Returns:
            True for sentences that have ended, ``(batch,)``.
        """
        column = torch.arange(tokens.size(1), device=tokens.device)
        kept = column < counts.unsqueeze(1)
        is_end = (tokens == self.eos) & kept
        after_end = is_end.cumsum(1) - is_end.long() > 0
        kept &= ~after_end
        row, col = kept.nonzero(as_tuple=True)
        place = self.lengths[row] + col
        self.written[row, place] = tokens[row, col]
        self.scores[row, place] = scores[row, col]
        self.lengths = self.lengths + kept.sum(1)
        return is_end.any(1)

    def select(self, order: Tensor) -> None:
        for name in ("rows", "lengths", "max_lengths", "written", "scores"):
            setattr(self, name, getattr(self, name).index_select(0, order))


class BlockGenerator:
    """fairseq generator interface over a mode: ``generate(models, sample)`` gives hypotheses.

    Args:
        models: ensemble of :class:`BangModel`; their probabilities are averaged.
        dictionary: target dictionary.
        mode: function ``(session, writing) -> step``; each call of ``step()`` runs decoder passes and returns
            drafted tokens, their scores ``(batch, n)`` and how many of them to keep ``(batch,)``.
        limits: lengths and penalties.
        lenpen: scores are divided by ``length ** lenpen``.
        normalize_scores: False leaves the sum of log-probabilities.
        collapse_repeats: drop tokens that repeat their predecessor.
    """

    def __init__(
        self,
        models: list,
        dictionary,
        mode: Callable,
        limits: Limits,
        lenpen: float = 1.0,
        normalize_scores: bool = True,
        collapse_repeats: bool = False,
    ):
        self.models = models
        self.dictionary = dictionary
        self.mode, self.limits = mode, limits
        self.lenpen, self.normalize_scores = lenpen, normalize_scores
        self.collapse_repeats = collapse_repeats
        self.eos = dictionary.eos()
        self.symbols_to_strip_from_output = {self.eos}

    @torch.no_grad()
    def generate(self, models, sample, prefix_tokens=None, constraints=None, bos_token=None):
        """Write every sentence of a batch.

        Args:
            models: ignored, as by fairseq's generators; those of the constructor write.
            sample: fairseq batch with ``net_input``.

        Returns:
            for each sentence a list of one hypothesis: ``tokens`` (the end symbol included), ``score``,
            ``positional_scores``, ``passes`` (decoder passes), and fairseq's unused ``attention``, ``alignment``.

        Raises:
            BangError: if prefix tokens or constraints are given.
        """
        if prefix_tokens is not None or constraints is not None:
            raise BangError("--prefix-size and --constraints need --decoding ar")
        for model in self.models:
            model.eval()
        net_input = sample["net_input"]
        session = Session(self.models, net_input)
        positions = min(m.max_decoder_positions() for m in self.models)
        lengths = net_input["src_tokens"].ne(self.dictionary.pad()).sum(1)
        writing = Writing(self.dictionary, self.limits, self.limits.max_lengths(lengths, positions))
        hypotheses: List[List[Dict]] = [[] for _ in range(len(lengths))]
        step = self.mode(session, writing)
        while writing.rows.numel():
            tokens, scores, counts = step()
            ended = writing.keep(tokens, scores, counts)
            for i in ended.nonzero().flatten().tolist():
                hypotheses[int(writing.rows[i])] = [self._hypothesis(writing, i, session.passes)]
            if ended.any():
                order = (~ended).nonzero().flatten()
                session.select(order)
                writing.select(order)
        return hypotheses

    def _hypothesis(self, writing: Writing, i: int, passes: int) -> Dict:
        length = int(writing.lengths[i])
        tokens, scores = writing.written[i, :length], writing.scores[i, :length]
        if self.collapse_repeats:
            fresh = torch.ones_like(tokens, dtype=torch.bool)
            fresh[1:] = tokens[1:] != tokens[:-1]
            tokens, scores = tokens[fresh], scores[fresh]
        score = scores.sum()
        if self.normalize_scores:
            score = score / len(tokens) ** self.lenpen
        return {
            "tokens": tokens.clone(),
            "score": score,
            "positional_scores": scores.clone(),
            "passes": passes,
            "attention": None,
            "alignment": torch.empty(0),
        }
