"""What the exported graphs compute: the model's own modules, with everything that changes from pass to pass an input.

``Nar`` is the encoder and one decoder pass. ``Encoder`` and ``Step`` are for the modes that write in several passes:
the encoder gives the keys and values of cross-attention, a step reads new tokens and predicts behind them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..models.bang import BangModel
from ..models.decoder import BangDecoder
from ..modules.streams import Streams


class Nar(nn.Module):
    """All tokens in one pass: one chain after the empty prefix (paper section 3.3), or after y_0 if so trained."""

    def __init__(self, model: BangModel):
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder
        self.before = 1 if model.decoder.nar_prefix == "start" else 0

    def forward(self, src_tokens: Tensor, elements: Tensor) -> Tensor:
        """Predict.

        Args:
            src_tokens: ``(batch, src_len)``, with the end symbol, and padding anywhere.
            elements: 1, 2, …, as many as tokens are to be predicted, ``(masks,)``. What one predicts does not depend on
                those behind it.

        Returns:
            logits ``(batch, masks, vocab)``.
        """
        pad = src_tokens.eq(self.decoder.padding_idx)
        states, _ = self.encoder.states(src_tokens, pad)
        element = elements.unsqueeze(0).expand(src_tokens.size(0), -1)
        start = torch.zeros_like(src_tokens[:, : self.before])
        positions = torch.cat([start, element], dim=1)
        streams = Streams(
            positions=_places(self.decoder, positions),
            visible=torch.full_like(positions, self.before),
            prefix_positions=_places(self.decoder, start),
            chain=torch.zeros_like(element),
            element=element,
        )
        encoder_out = {"encoder_out": [states[-1]], "source_mask": ~pad[:, None, None]}
        prefix = start + self.decoder.dictionary.eos() if self.before else None
        logits: Tensor = self.decoder.output_layer(self.decoder.rows(prefix, streams, encoder_out, skip=self.before))
        return logits


class Encoder(nn.Module):
    """The source, and what every step needs of it."""

    def __init__(self, model: BangModel):
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder

    def forward(self, src_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode.

        Args:
            src_tokens: ``(batch, src_len)``, with the end symbol, and padding anywhere.

        Returns:
            keys and values of cross-attention, ``(batch, layers, heads, src_len, head_dim)`` each, and where the source
            is no padding, ``(batch, src_len)``.
        """
        pad = src_tokens.eq(self.decoder.padding_idx)
        states, _ = self.encoder.states(src_tokens, pad)
        pairs = [layer.encoder_attn.keys_values(states[-1]) for layer in self.decoder.layers]
        keys, values = (torch.stack(of_layers, dim=1) for of_layers in zip(*pairs))
        return keys, values, ~pad


class Step(nn.Module):
    """One decoder pass: new tokens join the prefix, and masks stand in chains behind some of them."""

    def __init__(self, model: BangModel):
        super().__init__()
        self.decoder = model.decoder

    def forward(
        self,
        cross_keys: Tensor,
        cross_values: Tensor,
        source_mask: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
        tokens: Tensor,
        anchor: Tensor,
        element: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read and predict.

        Args:
            cross_keys, cross_values, source_mask: of the encoder.
            keys, values: of the tokens that earlier steps have read, ``(batch, layers, heads, slots, head_dim)``; what
                stands behind a sentence's ``lengths`` is not looked at.
            lengths: how many those are, ``(batch,)``.
            tokens: new ones, ``(batch, new)``. The first that a sentence ever reads is its end symbol, y_0.
            anchor: number, among the new tokens, of the one that each mask's chain stands behind, ``(batch, masks)``.
                It sees none of the later ones.
            element: place of each mask in its chain, from 1, same shape; 0 for a mask that is to be ignored.

        Returns:
            logits ``(batch, masks, vocab)``, and keys and values of the new tokens,
            ``(batch, layers, heads, new, head_dim)``.
        """
        decoder, slots, new = self.decoder, keys.size(3), tokens.size(1)
        number = torch.arange(new)
        place = lengths.unsqueeze(1) + number
        own = torch.cat([number.expand(tokens.size(0), -1), anchor], dim=1)
        cached = torch.arange(slots) < lengths[:, None, None]
        streams = Streams(
            positions=_places(decoder, torch.cat([place, lengths.unsqueeze(1) + anchor + element], dim=1)),
            visible=torch.cat([cached.expand(-1, own.size(1), -1), number <= own.unsqueeze(-1)], dim=2),
            prefix_positions=_places(
                decoder, torch.cat([torch.arange(slots).expand(tokens.size(0), -1), place], dim=1)
            ),
            chain=anchor,
            element=element,
        )
        cache = _Cache(keys, values, cross_keys, cross_values)
        encoder_out = {"encoder_out": [cross_keys], "source_mask": source_mask[:, None, None]}
        hidden = decoder.rows(tokens, streams, encoder_out, cache, skip=new)
        new_keys, new_values = (torch.stack([x[:, :, :new] for x in found], dim=1) for found in zip(*cache.written))
        return decoder.output_layer(hidden), new_keys, new_values


class _Cache:
    """Stands for ``DecodingCache``: keys and values of earlier passes are an input, those of this pass are noted."""

    def __init__(self, keys: Tensor, values: Tensor, cross_keys: Tensor, cross_values: Tensor):
        self._past = list(zip(keys.unbind(1), values.unbind(1)))
        self.cross = list(zip(cross_keys.unbind(1), cross_values.unbind(1)))
        self.written: list[tuple[Tensor, Tensor]] = []

    def cross_of(self, i: int) -> tuple[Tensor, Tensor]:
        return self.cross[i]

    def layer(self, i: int) -> "_Cache":
        return self

    def write(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self._past[len(self.written)]
        self.written.append((k, v))
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)


def _places(decoder: BangDecoder, numbers: Tensor) -> Tensor:
    """Indices of the position table; masks beyond its end predict nothing that is kept."""
    return (numbers + decoder.first_position).clamp(max=decoder.embed_positions.weight.size(0) - 1)


def example(model: BangModel) -> dict[str, tuple[nn.Module, dict[str, Tensor], list[str]]]:
    """For each graph the module, inputs to trace it with, and names of its outputs."""
    pad, layers = model.decoder.padding_idx, len(model.decoder.layers)
    attention: Any = model.decoder.layers[0].ngram_self_attn
    batch, source, slots, new, masks = 2, 5, 3, 4, 6
    src_tokens = torch.full((batch, source), pad + 1)
    src_tokens[0, -1] = pad
    cross, cached = ((batch, layers, attention.num_heads, n, attention.head_dim) for n in (source, slots))
    step = {
        "cross_keys": torch.zeros(cross),
        "cross_values": torch.zeros(cross),
        "source_mask": src_tokens.ne(pad),
        "keys": torch.zeros(cached),
        "values": torch.zeros(cached),
        "lengths": torch.tensor([slots, slots - 1]),
        "tokens": src_tokens[:, :new],
        "anchor": torch.full((batch, masks), new - 1),
        "element": torch.arange(1, masks + 1).expand(batch, -1).contiguous(),
    }
    return {
        "encoder": (Encoder(model), {"src_tokens": src_tokens}, ["cross_keys", "cross_values", "source_mask"]),
        "step": (Step(model), step, ["logits", "new_keys", "new_values"]),
        "nar": (Nar(model), {"src_tokens": src_tokens, "elements": step["element"][0]}, ["logits"]),
    }
