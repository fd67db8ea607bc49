"""A batch of sentences being written: encoder outputs, caches and decoder passes of all models."""

import math
from typing import List, Optional, Tuple

import torch
from torch import Tensor


class Session:
    """Runs decoder passes of one model, or of an ensemble, over a shrinking batch.

    Args:
        models: :class:`BangModel` instances that share a dictionary.
        net_input: ``src_tokens`` ``(batch, src_len)`` and ``src_lengths`` ``(batch,)``.

    Attributes:
        passes: decoder forward passes so far (an ensemble's models run side by side and count once).
    """

    def __init__(self, models: list, net_input: dict):
        self.models = models
        self.encoder_outs = [
            m.encoder(net_input["src_tokens"], src_lengths=net_input.get("src_lengths")) for m in models
        ]
        self.caches = [m.decoder.new_cache(len(net_input["src_tokens"])) for m in models]
        self.passes = 0

    def logits(self, prefix: Optional[Tensor], prefix_len: int, chain_len: int, counts=None) -> Tuple[Tensor, Tensor]:
        """One decoder pass.

        Args:
            prefix: new prefix tokens ``(batch, prefix_len)``; None: masks that stay, as NAR grows.
            prefix_len: number of new prefix rows.
            chain_len: masks in the chain behind them, whose predictions are returned (those of
                the prefix rows if ``prefix`` is None).
            counts: see :meth:`DecodingCache.plan`.

        Returns:
            logits ``(batch, n, vocab)`` in float32 and their log-normaliser ``(batch, n, 1)``.
        """
        self.passes += 1
        outputs: List[Tensor] = []
        for model, encoder_out, cache in zip(self.models, self.encoder_outs, self.caches):
            streams = cache.plan(prefix_len, chain_len, counts)
            hidden = model.decoder.rows(prefix, streams, encoder_out, cache)
            asked = hidden if prefix is None else hidden[:, prefix_len:]
            outputs.append(model.decoder.output_layer(asked).float())
        if len(outputs) == 1:
            return outputs[0], outputs[0].logsumexp(-1, keepdim=True)
        lprobs = torch.stack([logits.log_softmax(-1) for logits in outputs])
        mean = lprobs.logsumexp(0) - math.log(len(outputs))
        return mean, torch.zeros_like(mean[..., :1])

    def start_at(self, slot: int) -> None:
        """Skip leading slots: NAR's chain starts at the place of y_1, as if y_0 were there."""
        for cache in self.caches:
            cache.first_position += slot

    def advance(self, counts) -> None:
        """Commit leading prefix rows of the last pass: an int, or one count per sentence ``(batch,)``."""
        for cache in self.caches:
            cache.advance(counts)

    def select(self, order: Tensor) -> None:
        """Keep the sentences ``order``."""
        for i, model in enumerate(self.models):
            self.encoder_outs[i] = model.encoder.reorder_encoder_out(self.encoder_outs[i], order)
            self.caches[i].select(order)
