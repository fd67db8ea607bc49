"""``--no-repeat-ngram-size`` for fairseq's SequenceGenerator."""

import torch
from fairseq.ngram_repeat_block import NGramRepeatBlock
from torch import Tensor


class RepeatBlock(NGramRepeatBlock):
    """Forbids n-grams that a hypothesis already holds.

    fairseq's own Python code compares with the end of its padded buffer instead of the hypothesis'
    last tokens, so that on a CPU it forbids nothing.
    """

    def _no_repeat_ngram(self, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int) -> Tensor:
        """Set forbidden tokens' ``lprobs`` ``(batch x beam, vocab)`` to -inf; ``step + 1`` tokens are written."""
        n = self.no_repeat_ngram_size
        for row, history in enumerate(tokens[:, : step + 1].tolist()):
            tail = history[len(history) - (n - 1) :]
            # from 1: the begin symbol is part of no n-gram that could come again
            banned = [history[i + n - 1] for i in range(1, len(history) - n + 1) if history[i : i + n - 1] == tail]
            lprobs[row, banned] = -torch.inf
        return lprobs
