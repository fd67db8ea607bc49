"""What has been written so far, and the rules for what may come next."""

from dataclasses import dataclass, fields, replace
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.search import Sampling
from torch import Tensor

from ..modules.beams import remember_rows, rows_of
from .repeats import forbid_repeats


@dataclass
class Limits:
    """What may be written, with fairseq's option names and meaning."""

    max_len_a: float = 0.0
    max_len_b: int = 200
    min_len: int = 1
    unkpen: float = 0.0
    no_repeat_ngram_size: int = 0

    @classmethod
    def of(cls, args: Any) -> "Limits":
        """Those among fairseq's generation options ``args``; what is missing there has its default."""
        values: Dict[str, Any] = {option.name: getattr(args, option.name, option.default) for option in fields(cls)}
        return cls(**values)

    def max_lengths(self, src_lengths: Tensor, positions: int) -> Tensor:
        """Most tokens before the end symbol, per sentence ``(batch,)``.

        ``src_lengths`` are those without padding, where fairseq's search takes the longest of the batch.
        """
        # in double precision, as fairseq's search: in single 0.29 * 100 is 29, not 28
        wanted = (self.max_len_a * src_lengths.double() + self.max_len_b).long()
        return wanted.clamp(0, positions - 1)


@dataclass
class Notes:
    """What a pass leaves behind for those who show it; nothing is noted unless somebody does.

    Attributes:
        tokens, log_probabilities: the most probable tokens at each place of the proposals, best first,
            ``(batch, n, alternatives)``.
        drafted: the tokens that the pass verified, beside the proposals that took their places, ``(batch, m)`` with
            m <= n; -1 where there was none. None for modes that verify nothing.
    """

    tokens: Tensor
    log_probabilities: Tensor
    drafted: Optional[Tensor] = None


@dataclass
class HostState:
    """Copies on the host of each sentence's numbers, ``(batch,)`` each, so that a GPU is waited for only once a step.

    Attributes:
        rows, lengths, max_lengths, new_counts, draft_counts: those of ``DecodingState``. Before the first step
            there is one new token, y_0 or the last one that was given.
        ended: whether the last step ended it.
    """

    rows: np.ndarray
    lengths: np.ndarray
    max_lengths: np.ndarray
    new_counts: np.ndarray
    ended: np.ndarray
    draft_counts: Optional[np.ndarray] = None

    def select(self, kept: np.ndarray) -> None:
        """Keep the sentences ``kept``."""
        for name, value in vars(self).items():
            setattr(self, name, value if value is None else value[kept])


class DecodingState:
    """Tokens and scores of the sentences that are still being written.

    Attributes:
        rows: place of each sentence in the original batch, ``(batch,)``.
        written: tokens so far, ``(batch, room)``; columns past ``lengths`` hold padding.
        lengths: tokens so far, ``(batch,)``.
        new_counts: how many of them the last step added, ``(batch,)``.
        draft: guesses that a mode keeps for its next step, ``(batch, n)``, or None.
        draft_counts: how many of them each sentence has, ``(batch,)``.
        host: the numbers among these as of the last step, on the host.
        alternatives: how many of the most probable tokens ``choose`` notes; 0 if nobody wants to see them.
        notes: those of the last pass.
    """

    PER_SENTENCE: Tuple[str, ...] = (
        "rows",
        "lengths",
        "new_counts",
        "max_lengths",
        "written",
        "scores",
        "draft",
        "draft_counts",
    )

    def __init__(self, dictionary: Any, limits: Limits, max_lengths: Tensor):
        self.pad, self.eos, self.unk = dictionary.pad(), dictionary.eos(), dictionary.unk()
        self.limits, self.leading_ends_pass = limits, False
        self.dictionary, self.temperature = dictionary, 1.0
        self.sampler: Optional[Sampling] = None
        self.max_lengths = max_lengths
        limits_on_host = max_lengths.cpu().numpy()
        bsz = len(limits_on_host)
        room = int(limits_on_host.max()) + 2  # the end symbol, and a column for what is not kept
        self.host = HostState(
            rows=np.arange(bsz),
            lengths=np.zeros(bsz, int),
            max_lengths=limits_on_host,
            new_counts=np.ones(bsz, int),
            ended=np.zeros(bsz, bool),
        )
        self.rows = torch.arange(bsz, device=max_lengths.device)
        self.lengths = torch.zeros_like(max_lengths)
        self.new_counts = torch.ones_like(max_lengths)
        self.written = torch.full((bsz, room), self.pad, device=max_lengths.device)
        self.scores = torch.zeros(bsz, room, device=max_lengths.device)
        self.draft: Optional[Tensor] = None
        self.draft_counts: Optional[Tensor] = None
        self.alternatives = 0
        self.notes: Optional[Notes] = None

    def sample_by(
        self,
        sampling: Optional[bool],
        sampling_topk: Optional[int],
        sampling_topp: Optional[float],
        temperature: Optional[float],
    ) -> None:
        """Let ``choose`` draw tokens, as fairseq's search does, or at least have probabilities under a temperature.

        Args:
            sampling: draw; None, as for the others, if nothing was said.
            sampling_topk: among so many best tokens; all if below 1.
            sampling_topp: among the best tokens that have this probability together; all if not above 0.
            temperature: what logits are divided by.
        """
        self.temperature = 1.0 if temperature is None else temperature
        if sampling:
            topk, topp = (-1 if value is None else value for value in (sampling_topk, sampling_topp))
            self.sampler = Sampling(self.dictionary, topk, topp)

    def choose(
        self, logits: Tensor, normaliser: Tensor, index: Optional[Tensor] = None, drafted: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """Most probable tokens, or drawn ones, under fairseq's rules.

        No padding, no end before ``min_len``, and the end and nothing else at the length limit; with
        ``no_repeat_ngram_size`` one after the other, and none that would end an n-gram that stands before it.

        Args:
            logits: ``(batch, n, vocab)``, changed in place.
            normaliser: ``(batch, n, 1)``, such that ``logits - normaliser`` are log-probabilities.
            index: which output each row predicts, ``(batch, n)``, of the next n; default: all of them.
            drafted: guesses of the next outputs, ``(batch, m)``, that the first m rows verify: what stands before the
                places of the rows, in place of the tokens that those choose.

        Returns:
            tokens and log-probabilities, ``(batch, n)``.
        """
        if index is None:
            index = self.lengths.unsqueeze(1) + torch.arange(logits.size(1), device=logits.device)
        if self.temperature != 1:
            logits.div_(self.temperature)
            normaliser = logits.logsumexp(-1, keepdim=True)
        end, forced = self._restrict(logits, normaliser, index)
        if self.limits.no_repeat_ngram_size:
            tokens, scores = self._pick_in_turn(logits, normaliser, index, drafted)
        else:
            tokens, scores = self._pick(logits, normaliser)
        if self.alternatives:
            likely, others = logits.topk(min(self.alternatives, logits.size(-1)), dim=-1)
            self.notes = Notes(others, (likely - normaliser).masked_fill(forced.unsqueeze(-1), -torch.inf))
        return tokens.masked_fill(forced, self.eos), torch.where(forced, end, scores)

    def _pick(self, logits: Tensor, normaliser: Tensor) -> Tuple[Tensor, Tensor]:
        if self.sampler is None:
            best, tokens = logits.max(-1)
            return tokens, best - normaliser.squeeze(-1)
        # each place as if it were the first of a sentence with one beam
        drawn = self.sampler.step(0, (logits - normaliser).flatten(0, 1).unsqueeze(1), None)
        scores, tokens = (x.view(logits.shape[:2]) for x in drawn[:2])
        return tokens, scores

    def _pick_in_turn(
        self, logits: Tensor, normaliser: Tensor, index: Tensor, drafted: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor]:
        known = int(self.host.lengths.max())
        # end symbols that are passed over belong to no n-gram; padding may be forbidden as often as one likes
        history = F.pad(self.written[:, :known], (0, logits.size(1)), value=self.pad)
        history.masked_fill_(history == self.eos, self.pad)
        verified = 0 if drafted is None else drafted.size(1)
        if drafted is not None:
            history.scatter_(1, index[:, :verified], drafted)
        picked = []
        for i in range(logits.size(1)):
            place = index[:, i : i + 1]
            forbid_repeats(logits[:, i], history, place.squeeze(1), self.limits.no_repeat_ngram_size)
            token, score = self._pick(logits[:, i : i + 1], normaliser[:, i : i + 1])
            picked.append((token, score))
            if i >= verified:
                history.scatter_(1, place, token.masked_fill(token == self.eos, self.pad))
        tokens, scores = (torch.cat(columns, dim=1) for columns in zip(*picked))
        return tokens, scores

    def rank(self, logits: Tensor, normaliser: Tensor, index: Tensor, n: int) -> Tuple[Tensor, Tensor, Tensor]:
        """The ``n`` most probable tokens that go on, under the same rules; arguments as for ``choose``.

        Returns:
            tokens and log-probabilities ``(batch, rows, n)``, best first, -inf where fewer are allowed or there are;
            and the end symbol's log-probability ``(batch, rows)``.
        """
        end, forced = self._restrict(logits, normaliser, index)
        end = end.masked_fill(logits[..., self.eos].isneginf() & ~forced, -torch.inf)
        logits[..., self.eos] = -torch.inf
        best, tokens = logits.topk(min(n, logits.size(-1)), dim=-1)
        missing = (0, n - best.size(-1))
        best, tokens = F.pad(best, missing, value=-torch.inf), F.pad(tokens, missing, value=self.pad)
        return tokens, (best - normaliser).masked_fill(forced.unsqueeze(-1), -torch.inf), end

    def _restrict(self, logits: Tensor, normaliser: Tensor, index: Tensor) -> Tuple[Tensor, Tensor]:
        """Take what must not come next out of ``logits``.

        Returns:
            the end symbol's log-probability and where nothing else may come, ``(batch, n)`` each.
        """
        end = logits[..., self.eos] - normaliser.squeeze(-1)
        logits[..., self.pad] = -torch.inf
        if self.limits.unkpen:
            logits[..., self.unk] -= self.limits.unkpen
        logits[..., self.eos].masked_fill_(index < self.limits.min_len, -torch.inf)
        return end, index >= self.max_lengths.unsqueeze(1)

    def pending_tokens(self) -> Tuple[Tensor, Tensor]:
        """Tokens that the decoder has not read yet: those of the last step, or y_0 before the first.

        Returns:
            tokens ``(batch, n)`` and how many of them each sentence has ``(batch,)``; ``host.new_counts`` has that too.
        """
        if not self.host.lengths.any():
            return torch.full_like(self.lengths.unsqueeze(1), self.eos), self.new_counts
        place = torch.arange(int(self.host.new_counts.max()), device=self.lengths.device)
        place = (self.lengths - self.new_counts).unsqueeze(1) + place
        tokens = self.written.gather(1, place.clamp(0, self.written.size(1) - 2))
        if not self.host.lengths.all():  # of a sentence without a given prefix beside others with one
            tokens = tokens.masked_fill((self.lengths == 0).unsqueeze(1), self.eos)
        return tokens, self.new_counts

    def begin(
        self,
        tokens: Tensor,
        scores: Tensor,
        counts: Tensor,
        known: np.ndarray,
        limits: Tensor,
        known_limits: np.ndarray,
    ) -> None:
        """Take given tokens for written, of which the decoder has read all but each sentence's last.

        Args:
            tokens, scores: ``(batch, n)``.
            counts: how many each sentence has, ``(batch,)``, and ``known``: the same on the host.
            limits: ``max_lengths`` from now on, and ``known_limits``: the same on the host.
        """
        there = torch.arange(tokens.size(1), device=tokens.device) < counts.unsqueeze(1)
        self.written[:, : tokens.size(1)] = tokens.masked_fill(~there, self.pad)
        self.scores[:, : tokens.size(1)] = scores.masked_fill(~there, 0.0)
        self.lengths, self.max_lengths = counts, limits
        self.host.lengths, self.host.max_lengths = known, known_limits

    def keep(self, tokens: Tensor, scores: Tensor, counts: Tensor) -> None:
        """Append each sentence's first ``counts`` tokens, up to the end symbol, and update ``host``.

        Args:
            tokens, scores: ``(batch, n)``.
            counts: at least 1, ``(batch,)``.
        """
        column = torch.arange(tokens.size(1), device=tokens.device)
        kept = column < counts.unsqueeze(1)
        is_end = self.is_end(tokens, self.lengths.unsqueeze(1) + column) & kept
        kept &= is_end.cumsum(1) - is_end.long() == 0
        place = torch.where(kept, self.lengths.unsqueeze(1) + column, self.written.size(1) - 1)
        self.written.scatter_(1, place, tokens)
        self.scores.scatter_(1, place, scores.to(self.scores.dtype))
        self.new_counts, self.ended = kept.sum(1), is_end.any(1)
        self.lengths = self.lengths + self.new_counts
        # the one transfer of a step
        numbers = [self.new_counts, self.ended.long(), *([] if self.draft_counts is None else [self.draft_counts])]
        new_counts, ended, *draft_counts = torch.stack(numbers).cpu().numpy()
        host = self.host
        host.new_counts, host.ended, host.lengths = new_counts, ended.astype(bool), host.lengths + new_counts
        host.draft_counts = draft_counts[0] if draft_counts else None

    def unfinished(self) -> Tensor:
        """The sentences that the last step has not ended, in their order."""
        kept = np.flatnonzero(~self.host.ended)
        # the device finds them itself, since to send them there is to wait for a GPU
        order: Tensor = self.ended.long().argsort(stable=True)[: len(kept)]
        return remember_rows(order, kept)

    def certainty(self, scores: Tensor) -> Tensor:
        """Log-probabilities of the most probable tokens, given those of the last proposals, ``(batch, n)``."""
        return scores

    def is_end(self, tokens: Tensor, place: Tensor) -> Tensor:
        """Where a sentence ends, ``(batch, n)``, if these tokens come at these places."""
        found: Tensor = tokens == self.eos
        if self.leading_ends_pass:
            written = self.written[:, :-1]  # the last column is for what is not kept
            begun = ((written != self.eos) & (written != self.pad)).any(1, keepdim=True)
            begun = begun | ((~found).cumsum(1) > 0)
            found = found & (begun | (place >= self.max_lengths.unsqueeze(1)))
        return found

    def pass_over_leading_ends(self) -> None:
        """Let no end symbol before the first token end a sentence; each takes a place up to the length limit.

        fairseq's default ``min_len`` of 1, for which the second best token would come at the first place, has no effect
        then.
        """
        self.leading_ends_pass = True
        if self.limits.min_len == 1:
            self.limits = replace(self.limits, min_len=0)

    def select(self, order: Tensor) -> None:
        """Keep the sentences ``order``."""
        self.host.select(rows_of(order))
        for name in self.PER_SENTENCE:
            value = getattr(self, name)
            if value is not None:
                setattr(self, name, value.index_select(0, order))
