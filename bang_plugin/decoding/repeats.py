"""``--no-repeat-ngram-size``: in fairseq's SequenceGenerator, and for what a pass proposes."""

import torch
from fairseq.ngram_repeat_block import NGramRepeatBlock
from torch import Tensor


def forbid_repeats(lprobs: Tensor, history: Tensor, lengths: Tensor, n: int) -> Tensor:
    """Forbid what would end an n-gram that was written before.

    Args:
        lprobs: of the next tokens, ``(rows, vocab)``; what is forbidden becomes -inf.
        history: tokens so far, ``(rows, m)``.
        lengths: how many of them count, ``(rows,)``.
        n: tokens of an n-gram, at least 1.

    Returns:
        ``lprobs``.
    """
    if history.size(1) < n:
        return lprobs
    ngrams = history.unfold(1, n, 1)  # (rows, places, n)
    before = torch.arange(1 - n, 0, device=history.device)
    tail = history.gather(1, (lengths.unsqueeze(1) + before).clamp(min=0))
    again = (ngrams[..., :-1] == tail.unsqueeze(1)).all(-1)
    again &= torch.arange(n - 1, history.size(1), device=history.device) < lengths.unsqueeze(1)
    penalty = torch.zeros_like(again, dtype=lprobs.dtype).masked_fill_(again, -torch.inf)
    # added, since a token may end several n-grams of which only one comes again
    return lprobs.scatter_add_(1, ngrams[..., -1], penalty)


class RepeatBlock(NGramRepeatBlock):
    """Forbids n-grams that a hypothesis already holds.

    fairseq's own Python code compares with the end of its padded buffer instead of the hypothesis'
    last tokens, so that on a CPU it forbids nothing.
    """

    def _no_repeat_ngram(self, tokens: Tensor, lprobs: Tensor, bsz: int, beam_size: int, step: int) -> Tensor:
        """Set forbidden tokens' ``lprobs`` ``(batch x beam, vocab)`` to -inf; ``step + 1`` tokens are written."""
        # without the begin symbol, which is part of no n-gram that could come again
        history = tokens[:, 1 : step + 1]
        return forbid_repeats(lprobs, history, torch.full_like(tokens[:, 0], step), self.no_repeat_ngram_size)
