"""How probable a given output is under a decoding's own chains: the loop of decoding with every choice made already."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from fairseq.sequence_scorer import SequenceScorer
from torch import Tensor

from ..errors import BangError
from .loop import BlockGenerator, Mode
from .observers import Observer
from .state import DecodingState, Limits


class ForcedState(DecodingState):
    """Forced decoding: the mode's proposals are the tokens of given outputs, whatever it would have chosen.

    Args:
        dictionary: target dictionary.
        outputs: with their end symbols, padded on either side, ``(batch, len)``.
    """

    PER_SENTENCE: Tuple[str, ...] = (*DecodingState.PER_SENTENCE, "outputs")

    def __init__(self, dictionary: Any, outputs: Tensor):
        real = outputs.ne(dictionary.pad())
        super().__init__(dictionary, Limits(), (real.sum(1) - 1).clamp(min=0))
        self.outputs = outputs.gather(1, real.long().argsort(dim=1, descending=True, stable=True))

    def choose(
        self, logits: Tensor, normaliser: Tensor, index: Optional[Tensor] = None, drafted: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """The given tokens and their log-probabilities; arguments as for ``DecodingState.choose``."""
        if index is None:
            index = self.lengths.unsqueeze(1) + torch.arange(logits.size(1), device=logits.device)
        tokens = self.outputs.gather(1, index.clamp(max=self.outputs.size(1) - 1))
        scores = logits.gather(2, tokens.unsqueeze(2)).squeeze(2) - normaliser.squeeze(2)
        self._restrict(logits, normaliser, index)
        self._certainty = logits.max(-1).values - normaliser.squeeze(2)
        return tokens, scores

    def certainty(self, scores: Tensor) -> Tensor:
        """That of the tokens which would have been chosen.

        So the blocks' lengths do not depend on the given tokens, and the likelihoods of all outputs add up to 1.
        """
        return self._certainty

    def is_end(self, tokens: Tensor, place: Tensor) -> Tensor:
        """The last given token, even if the end symbol stands before it."""
        return place == self.max_lengths.unsqueeze(1)


class BlockScorer(BlockGenerator):
    """fairseq's ``SequenceScorer`` for a mode.

    The hypotheses are the targets, ``score`` is the mean log-probability (nats) of their tokens, and each token's is
    what the mode's own chain gives it.

    Args:
        models, dictionary, mode, observers: see ``BlockGenerator``.
    """

    def __init__(self, models: List[Any], dictionary: Any, mode: Mode, observers: Sequence[Observer] = ()):
        super().__init__(models, dictionary, mode, Limits(), observers=observers)

    def begin(self, sample: Dict[str, Any], lengths: Tensor) -> DecodingState:
        """The state of a batch whose outputs are its targets.

        Raises:
            BangError: if there are no targets.
        """
        check_targets(sample)
        return ForcedState(self.dictionary, sample["target"])


class ReferenceScorer(SequenceScorer):
    """fairseq's, for AR's likelihood, with a line where there is nothing to score."""

    def generate(self, models: List[Any], sample: Dict[str, Any], **kwargs: Any) -> List[List[Dict[str, Any]]]:
        """fairseq's, checked.

        Raises:
            BangError: if there are no targets.
        """
        check_targets(sample)
        scored: List[List[Dict[str, Any]]] = super().generate(models, sample, **kwargs)
        return scored


def check_targets(sample: Dict[str, Any]) -> None:
    """Check that there is something to score.

    Raises:
        BangError: if a batch has no targets to score.
    """
    if sample.get("target") is None:
        raise BangError("--score-reference needs targets: fairseq-generate with both sides, or score from Python")
