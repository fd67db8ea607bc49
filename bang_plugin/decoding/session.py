"""A batch of sentences being written: encoder outputs, caches and decoder passes of all models."""

import math
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from ..errors import BangError
from ..modules.beams import remember_rows
from ..modules.chunked_cross_entropy import chunked_cross_entropy


def ensemble_mean(lprobs: List[Tensor]) -> Tensor:
    """Log of the mean of the models' probabilities; each has log-probabilities of the same shape."""
    return lprobs[0] if len(lprobs) == 1 else torch.stack(lprobs).logsumexp(0) - math.log(len(lprobs))


class Session:
    """Runs decoder passes of one model, or of an ensemble, over a shrinking batch.

    Args:
        models: ``BangModel`` instances that share a dictionary.
        net_input: ``src_tokens`` ``(batch, src_len)`` and ``src_lengths`` ``(batch,)``.

    Attributes:
        passes: decoder forward passes so far (an ensemble's models run side by side and count once).
    """

    def __init__(self, models: List[Any], net_input: Dict[str, Any]):
        self.models = models
        self.encoder_outs = [
            m.encoder(net_input["src_tokens"], src_lengths=net_input.get("src_lengths")) for m in models
        ]
        self.caches = [m.decoder.new_cache(len(net_input["src_tokens"])) for m in models]
        self.passes = 0
        self._chain_start: Optional[Tensor] = None  # y_0, which the first pass of NAR's chain has before the masks

    def chains(
        self, prefix: Tensor, block_size: int, counts: Optional[Tensor] = None, verify: bool = False
    ) -> Tuple[Tensor, Tensor]:
        """One decoder pass over new prefix tokens and chains of masks.

        Args:
            prefix: tokens that join the prefix, ``(batch, n)``.
            block_size: masks in a chain.
            counts: how many of the tokens each sentence has, ``(batch,)``; all if None.
            verify: one more mask after each of the tokens but the last column's, before the chain's.

        Returns:
            logits of the masks ``(batch, block_size, vocab)``, or ``n - 1`` more, in float32, and their
            log-normaliser with a last dimension of 1.
        """
        n = prefix.size(1)
        return self._pass(prefix, lambda cache: cache.plan(n, block_size, counts, verify), first=n)

    def start_chain(self, start: int) -> None:
        """Begin NAR's chain after y_0, the token ``start``, or after nothing, as the models were trained.

        Raises:
            BangError: if they were not trained alike.
        """
        prefixes = {model.decoder.nar_prefix for model in self.models}
        if len(prefixes) > 1:
            raise BangError("an ensemble writes NAR only if all its models were trained with the same --nar-prefix")
        if prefixes == {"start"}:
            source = self.encoder_outs[0]["encoder_out"][0]
            self._chain_start = torch.full((source.size(1), 1), start, device=source.device)
        else:  # the chain begins where y_1 will stand
            for cache in self.caches:
                cache.first_position += 1

    def grow_chain(self, size: int) -> Tuple[Tensor, Tensor]:
        """One decoder pass over the next ``size`` masks of NAR's chain, which stay; see ``chains``."""
        start, self._chain_start = self._chain_start, None
        before = 0 if start is None else 1
        found = self._pass(start, lambda cache: cache.plan(before + size, 0), first=before)
        self.advance(before + size)
        return found

    def _pass(self, prefix: Optional[Tensor], plan: Callable[[Any], Any], first: int) -> Tuple[Tensor, Tensor]:
        self.passes += 1
        outputs: List[Tensor] = []
        for model, encoder_out, cache in zip(self.models, self.encoder_outs, self.caches):
            hidden = model.decoder.rows(prefix, plan(cache), encoder_out, cache, skip=first)
            outputs.append(model.decoder.output_layer(hidden).float())
        if len(outputs) == 1:
            return outputs[0], outputs[0].logsumexp(-1, keepdim=True)
        mean = ensemble_mean([logits.log_softmax(-1) for logits in outputs])
        return mean, torch.zeros_like(mean[..., :1])

    def score(self, tokens: Tensor, eos: int) -> Tensor:
        """Log-probabilities of stream 1 for whole outputs, in one decoder pass that leaves the session as it was.

        Args:
            tokens: ``(batch, n, len)``; what stands behind the end symbol counts for nothing.
            eos: its id, which is y_0 too.

        Returns:
            ``(batch, n, len)``.
        """
        self.passes += 1
        bsz, n, length = tokens.shape
        rows = tokens.flatten(0, 1)
        prefix = torch.cat([torch.full_like(rows[:, :1], eos), rows[:, :-1]], dim=1)
        order = torch.arange(bsz, device=rows.device).repeat_interleave(n)
        remember_rows(order, np.arange(bsz).repeat(n))
        lprobs = []
        for model, encoder_out in zip(self.models, self.encoder_outs):
            cache = model.decoder.new_cache(bsz * n)
            encoder_out = model.encoder.reorder_encoder_out(encoder_out, order)
            streams = cache.plan(length, 1, verify=True)
            hidden = model.decoder.rows(prefix, streams, encoder_out, cache, skip=length).flatten(0, 1)
            weight, target = model.decoder.embed_tokens.weight, rows.flatten()
            _, nll, _ = chunked_cross_entropy(hidden, weight, target, torch.ones_like(target, dtype=hidden.dtype))
            lprobs.append(-nll.float())
        return ensemble_mean(lprobs).view(bsz, n, length)

    def advance(self, counts: Union[int, Tensor], host_counts: Optional[np.ndarray] = None) -> None:
        """Commit leading prefix rows of the last pass: see ``DecodingCache.advance``."""
        for cache in self.caches:
            cache.advance(counts, host_counts)

    def select(self, order: Tensor) -> None:
        """Keep the sentences ``order``."""
        for i, model in enumerate(self.models):
            self.encoder_outs[i] = model.encoder.reorder_encoder_out(self.encoder_outs[i], order)
            self.caches[i].select(order)
