"""The loop that all modes but beam search share: draft, keep, until every sentence has ended."""

from typing import Callable, Dict, List, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor

from ..errors import BangError
from .session import Session
from .state import DecodingState, Known, Limits
from .stats import DecodingStats


class Step(NamedTuple):
    """What one decoder pass added.

    Attributes:
        tokens, scores: proposals and their log-probabilities, ``(batch, n)``.
        counts: how many leading ones are kept, ``(batch,)``.
        offered: how many there are, ``(batch,)``; n of them if None.
        read: what is kept says how many of the pass's prefix rows the cache keeps too.
    """

    tokens: Tensor
    scores: Tensor
    counts: Tensor
    offered: Optional[np.ndarray] = None
    read: bool = False


class BlockGenerator:
    """fairseq generator interface over a mode: ``generate(models, sample)`` gives hypotheses.

    Args:
        models: ensemble of :class:`BangModel`; their probabilities are averaged.
        dictionary: target dictionary.
        mode: function ``(session, state) -> step``; each call of ``step()`` runs a decoder pass and returns a
            :class:`Step`.
        limits: lengths and penalties.
        lenpen: scores are divided by ``length ** lenpen``; 0 leaves the sum of log-probabilities.
        collapse_repeats: drop tokens that repeat their predecessor.
        account: makes the :class:`DecodingStats` that is told of every hypothesis.
    """

    def __init__(
        self,
        models: list,
        dictionary,
        mode: Callable,
        limits: Limits,
        lenpen: float = 1.0,
        collapse_repeats: bool = False,
        account: Optional[Callable[["BlockGenerator"], DecodingStats]] = None,
    ):
        self.models = models
        self.dictionary = dictionary
        self.mode, self.limits = mode, limits
        self.lenpen, self.collapse_repeats = lenpen, collapse_repeats
        self.account = account(self) if account else None
        self.eos = dictionary.eos()
        self.symbols_to_strip_from_output = {self.eos}

    @torch.no_grad()
    def generate(self, models, sample, prefix_tokens=None, constraints=None, bos_token=None) -> List[List[Dict]]:
        """Write every sentence of a batch.

        Args:
            models: ignored, as by fairseq's generators; those of the constructor write.
            sample: fairseq batch with ``net_input``.

        Returns:
            for each sentence a list of one hypothesis: ``tokens`` (the end symbol included), ``score``,
            ``positional_scores``, ``passes`` (decoder passes), ``proposed`` and ``kept`` (tokens), ``trace`` if
            asked for, and fairseq's unused ``attention`` and ``alignment``.

        Raises:
            BangError: if prefix tokens or constraints are given.
        """
        if prefix_tokens is not None or constraints is not None:
            raise BangError("--prefix-size and --constraints need --decoding ar")
        for model in self.models:
            model.eval()
        net_input = sample["net_input"]
        session = Session(self.models, net_input)
        lengths = net_input["src_tokens"].ne(self.dictionary.pad()).sum(1)
        state = self.begin(sample, lengths)
        traced = self.account is not None and self.account.traces
        hypotheses: List[List[Dict]] = [[] for _ in range(len(lengths))]
        traces: List[List[Dict]] = [[] for _ in range(len(lengths))]
        proposed = np.zeros(len(lengths), int)
        known, step = state.known, self.mode(session, state)
        while True:
            tokens, scores, counts, offered, read = step()
            state.keep(tokens, scores, counts)
            if read:
                session.advance(state.fresh, known.fresh)
            if offered is None:
                offered = np.full(len(known.rows), tokens.size(1))
            proposed[known.rows] += offered
            if traced:
                self._record(traces, session.passes, known, tokens, scores, offered)
            for i in np.flatnonzero(known.ended):
                original = known.rows[i]
                hypothesis = self._hypothesis(state, i, int(known.lengths[i]))
                hypothesis.update(passes=session.passes, proposed=int(proposed[original]), trace=traces[original])
                hypotheses[original] = [hypothesis]
            if known.ended.all():
                break
            if known.ended.any():
                order = state.unfinished()
                session.select(order)
                state.select(order)
        if self.account:
            self.account.add(sample["id"].tolist() if traced and "id" in sample else None, hypotheses)
        return hypotheses

    def begin(self, sample, lengths: Tensor) -> DecodingState:
        """Nothing written yet; ``lengths``: tokens of the sources ``(batch,)``."""
        positions = min(m.max_decoder_positions() for m in self.models)
        return DecodingState(self.dictionary, self.limits, self.limits.max_lengths(lengths, positions))

    def _record(self, traces, number: int, known: Known, tokens: Tensor, scores: Tensor, offered: np.ndarray) -> None:
        shown = torch.cat([tokens.double(), scores.double().exp()], dim=1).tolist()
        for original, row, n, kept in zip(known.rows, shown, offered, known.fresh.tolist()):
            words = [self.dictionary[int(token)] for token in row[:n]]
            probabilities = row[tokens.size(1) :][:n]
            traces[original].append({"pass": number, "tokens": words, "probabilities": probabilities, "kept": kept})

    def _hypothesis(self, state: DecodingState, i: int, length: int) -> Dict:
        tokens, scores = state.written[i, :length], state.scores[i, :length]
        if self.collapse_repeats:
            fresh = torch.ones_like(tokens, dtype=torch.bool)
            fresh[1:] = tokens[1:] != tokens[:-1]
            fresh = fresh.nonzero().flatten()
            tokens, scores = tokens[fresh], scores[fresh]
        score = scores.sum() / len(tokens) ** self.lenpen
        return {
            "tokens": tokens.clone(),
            "score": score,
            "positional_scores": scores.clone(),
            "kept": length,
            "attention": None,
            "alignment": torch.empty(0),
        }
