"""What decoding returns: hypotheses, and totals over them."""

from dataclasses import dataclass, field
from typing import Any, Dict, List

import torch
from torch import Tensor


@dataclass
class Hypothesis:
    """One output for one sentence.

    Attributes:
        tokens: with the end symbol, ``(len,)``.
        positional_scores: log-probability of each (nats), ``(len,)``.
        score: their sum, divided by the length penalty.
        passes: decoder passes until the sentence had ended.
        proposed: tokens that these passes proposed; 0 where a search proposes none.
        kept: how many of them were kept.
        trace: what each pass proposed, if a ``bang_plugin.decoding.stats.TraceRecorder`` observes.
    """

    tokens: Tensor
    positional_scores: Tensor
    score: Tensor
    passes: int
    proposed: int = 0
    kept: int = 0
    trace: List[Dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> Dict[str, Any]:
        """What fairseq's commands index; ``attention`` and ``alignment`` are empty."""
        return {**vars(self), "attention": None, "alignment": torch.empty(0)}


@dataclass
class Totals:
    """Sums over the best hypotheses of many sentences."""

    batches: int = 0
    sentences: int = 0
    passes: int = 0
    kept: int = 0
    proposed: int = 0

    def add(self, hypotheses: List[List[Hypothesis]]) -> None:
        """Count a batch; ``hypotheses``: per sentence, the best one first."""
        self.batches += 1
        for best in (found[0] for found in hypotheses if found):
            self.sentences += 1
            self.passes += best.passes
            self.kept += best.kept
            self.proposed += best.proposed

    def summary(self) -> str:
        """Mean batch and passes and, for modes that draft, tokens per pass and the share of proposed tokens kept.

        At least one sentence has been counted.
        """
        line = (
            f"{self.sentences} sentences in batches of {self.sentences / self.batches:.1f}, "
            f"{self.passes / self.sentences:.2f} decoder passes each"
        )
        if self.proposed:
            share = 100 * self.kept / self.proposed
            line += f", {self.kept / self.passes:.2f} tokens per pass, {share:.1f} % of proposed tokens kept"
        return line
