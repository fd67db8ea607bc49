"""The loop that all modes but beam search share: draft, keep, until every sentence has ended."""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from ..errors import BangError
from .collapsing import Collapsing
from .hypothesis import Hypothesis
from .observers import BatchEvent, Observer, PassEvent, audience
from .option_table import flag
from .prefix import begin_with
from .registry import readers
from .session import Session
from .state import DecodingState, Limits


class Step(NamedTuple):
    """What one decoder pass added.

    Attributes:
        tokens, scores: proposals and their log-probabilities, ``(batch, n)``.
        counts: how many leading ones are kept, ``(batch,)``.
        offered: how many there are, ``(batch,)``; n of them if None.
        read: what is kept says how many of the pass's prefix rows the cache keeps too.
        others: further outputs of sentences that this step ends, with the end symbol: tokens and log-probabilities
            ``(batch, m, len)`` each, with padding behind shorter ones and in place of missing ones.
    """

    tokens: Tensor
    scores: Tensor
    counts: Tensor
    offered: Optional[np.ndarray] = None
    read: bool = False
    others: Optional[Tuple[Tensor, Tensor]] = None


Mode = Callable[[Session, DecodingState], Callable[[], Step]]


class BlockGenerator:
    """fairseq generator interface over a mode: ``generate(models, sample)`` gives hypotheses.

    Args:
        models: ensemble of ``BangModel``; their probabilities are averaged.
        dictionary: target dictionary.
        mode: function ``(session, state) -> step``; each call of ``step()`` runs a decoder pass and returns a
            ``Step``.
        limits: lengths and penalties.
        lenpen: scores are divided by ``length ** lenpen``; 0 leaves the sum of log-probabilities.
        collapse_repeats: drop pieces and words that repeat their predecessor, see `Collapsing`.
        observers: told of every pass and every batch.
        takes_prefix: whether the mode writes behind a prefix, which may then be given.
    """

    def __init__(
        self,
        models: List[Any],
        dictionary: Any,
        mode: Mode,
        limits: Limits,
        lenpen: float = 1.0,
        collapse_repeats: bool = False,
        observers: Sequence[Observer] = (),
        takes_prefix: bool = False,
    ):
        self.models = models
        self.dictionary = dictionary
        self.mode, self.limits = mode, limits
        self.lenpen, self.collapsing = lenpen, Collapsing(dictionary) if collapse_repeats else None
        self.observers, self.takes_prefix = list(observers), takes_prefix
        self.eos = dictionary.eos()
        self.symbols_to_strip_from_output = {self.eos}

    @torch.no_grad()
    def generate(
        self,
        models: List[Any],
        sample: Dict[str, Any],
        prefix_tokens: Optional[Tensor] = None,
        constraints: Optional[Tensor] = None,
        bos_token: Optional[int] = None,
    ) -> List[List[Dict[str, Any]]]:
        """Write every sentence of a batch.

        Args:
            models: ignored, as by fairseq's generators; those of the constructor write.
            sample: fairseq batch with ``net_input``.
            prefix_tokens: with which the outputs begin, ``(batch, n)``.

        Returns:
            for each sentence a list of hypotheses, one but where NAR is asked for more, see ``Hypothesis.as_dict``.

        Raises:
            BangError: if constraints are given, or prefix tokens where the mode has no prefix.
        """
        given = {"constraints": constraints, "prefix_size": None if self.takes_prefix else prefix_tokens}
        for option, value in given.items():
            if value is not None:
                raise BangError(f"{flag(option)} needs --decoding {' or '.join(readers(option))}")
        for model in self.models:
            model.eval()
        session = Session(self.models, sample["net_input"])
        lengths = sample["net_input"]["src_tokens"].ne(self.dictionary.pad()).sum(1)
        state = self.begin(sample, lengths)
        if prefix_tokens is not None and len(lengths):
            begin_with(session, state, prefix_tokens)
        batch = BatchEvent(sample, self._write(sample, session, state), self.dictionary)
        for observer in audience(self.observers):
            observer.on_batch(batch)
        return [[hypothesis.as_dict() for hypothesis in found] for found in batch.hypotheses]

    def begin(self, sample: Dict[str, Any], lengths: Tensor) -> DecodingState:
        """Nothing written yet; ``lengths``: tokens of the sources ``(batch,)``."""
        positions = min(m.max_decoder_positions() for m in self.models)
        return DecodingState(self.dictionary, self.limits, self.limits.max_lengths(lengths, positions))

    def _write(self, sample: Dict[str, Any], session: Session, state: DecodingState) -> List[List[Hypothesis]]:
        host, step, observers = state.host, self.mode(session, state), audience(self.observers)
        hypotheses: List[List[Hypothesis]] = [[] for _ in host.rows]
        state.alternatives = max((observer.alternatives for observer in observers), default=0)

        def tell(tokens: Tensor, scores: Tensor, offered: np.ndarray, kept: np.ndarray) -> None:
            where = sample, self.dictionary, session.passes, host.rows
            event = PassEvent(*where, tokens, scores, offered, kept, state.notes)
            for observer in observers:
                observer.on_pass(event)

        proposed, given = host.lengths.copy(), int(host.lengths.max(initial=0))
        if given:
            tell(state.written[:, :given], state.scores[:, :given], host.lengths, host.lengths)
        while True:
            state.notes = None
            tokens, scores, counts, offered, read, others = step()
            state.keep(tokens, scores, counts)
            if read:
                session.advance(state.new_counts, host.new_counts)
            if offered is None:
                offered = np.full(len(host.rows), tokens.size(1))
            proposed[host.rows] += offered
            tell(tokens, scores, offered, host.new_counts)
            more = others[0].ne(state.pad).sum(2).cpu().numpy() if others else None
            for i in np.flatnonzero(host.ended):
                row, length = host.rows[i], int(host.lengths[i])
                outputs = [(state.written[i, :length], state.scores[i, :length])]
                if others and more is not None:
                    outputs += [(x[:n], y[:n]) for x, y, n in zip(others[0][i], others[1][i], more[i]) if n]
                found = session.passes, int(proposed[row])
                hypotheses[row] = [self._hypothesis(*output, *found) for output in outputs]
            if host.ended.all():
                return hypotheses
            if host.ended.any():
                order = state.unfinished()
                session.select(order)
                state.select(order)

    def _hypothesis(self, tokens: Tensor, scores: Tensor, passes: int, proposed: int) -> Hypothesis:
        """Of an output with its end symbol, ``(len,)``."""
        length = len(tokens)
        if self.collapsing:
            places = self.collapsing.places(tokens)
            tokens, scores = tokens[places], scores[places]
        score = scores.sum() / len(tokens) ** self.lenpen
        return Hypothesis(tokens.clone(), scores.clone(), score, passes, proposed, kept=length)
