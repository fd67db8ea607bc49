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
        # without the begin symbol, which is part of no n-gram that could come again
        history = tokens[:, 1 : step + 1]
        if history.size(1) < n:
            return lprobs
        ngrams = history.unfold(1, n, 1)  # (batch x beam, places, n)
        tail = history[:, history.size(1) - (n - 1) :]
        again = (ngrams[..., :-1] == tail.unsqueeze(1)).all(-1)
        penalty = torch.zeros_like(again, dtype=lprobs.dtype).masked_fill_(again, -torch.inf)
        # added, since a token may end several n-grams of which only one comes again
        return lprobs.scatter_add_(1, ngrams[..., -1], penalty)
