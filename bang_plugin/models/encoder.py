"""BANG's encoder: fairseq's post-LayerNorm Transformer encoder with BERT's embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.modules import MultiheadAttention
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
from omegaconf import DictConfig
from torch import Tensor

from ..modules.beams import sentence_order
from ..modules.fused_attention import dropout_rate, fused_attention
from ..modules.packed_linear import PackedLinear, merged, pack_children, pack_feed_forward

# fairseq's, whose values are lists of tensors; ours adds ``beams`` (int) and ``source_mask`` (a tensor or None)
EncoderOut = dict[str, Any]


def encoder_config(cfg: DictConfig) -> TransformerConfig:
    """fairseq's configuration of BANG's encoder (design: learned positions, no embedding scale)."""
    config = TransformerConfig(
        activation_fn=cfg.activation_fn,
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
        activation_dropout=cfg.activation_dropout,
        max_source_positions=cfg.max_source_positions,
        checkpoint_activations=cfg.checkpoint_activations,
        no_scale_embedding=True,
        layernorm_embedding=True,
    )
    config.encoder.embed_dim = cfg.encoder_embed_dim
    config.encoder.ffn_embed_dim = cfg.encoder_ffn_embed_dim
    config.encoder.layers = cfg.encoder_layers
    config.encoder.attention_heads = cfg.encoder_attention_heads
    config.encoder.learned_pos = True
    return config


class EncoderSelfAttention(MultiheadAttention):
    """fairseq's parameters and signature, computed by torch's fused kernels; no attention weights are returned."""

    def __init__(self, embed_dim: int, num_heads: int, **options: Any):
        super().__init__(embed_dim, num_heads, **options)
        self.packed: PackedLinear | None = None

    def forward(self, query: Tensor, key_padding_mask: Tensor | None = None, **unused: Any) -> tuple[Tensor, None]:
        """``(src_len, batch, embed_dim)`` -> the same and None; ``key_padding_mask`` ``(batch, src_len)``."""
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
        q, k, v = map(self._heads, self._project(query))
        out = fused_attention(q, k, v, mask, dropout_rate(self.dropout_module))
        return self.out_proj(out.permute(2, 0, 1, 3).flatten(2)), None

    def _project(self, x: Tensor) -> Sequence[Tensor]:
        if self.packed is not None:
            return self.packed(x).chunk(3, -1)
        return self.q_proj(x), self.k_proj(x), self.v_proj(x)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).permute(1, 2, 0, 3)

    def pack(self, precision: str) -> None:
        """For inference, with one product for queries, keys and values: see ``packed_linear``."""
        self.packed = merged(self.q_proj, self.k_proj, self.v_proj, precision=precision)
        for name in ("q_proj", "k_proj", "v_proj"):
            setattr(self, name, None)
        pack_children(self, ["out_proj"], precision)


class BangEncoderLayer(TransformerEncoderLayerBase):
    """fairseq's, with the attention above."""

    def build_self_attention(self, embed_dim: int, cfg: TransformerConfig) -> EncoderSelfAttention:
        """Called by fairseq's constructor."""
        heads, dropout = cfg.encoder.attention_heads, cfg.attention_dropout
        return EncoderSelfAttention(embed_dim, heads, dropout=dropout, self_attention=True)

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        self.self_attn.pack(precision)
        pack_feed_forward(self, precision)


class BangEncoder(TransformerEncoderBase):
    """Bidirectional encoder; output ``encoder_out`` is ``(src_len, batch, embed_dim)``."""

    def __init__(self, cfg: DictConfig, dictionary: Dictionary, embed_tokens: nn.Embedding):
        super().__init__(encoder_config(cfg), dictionary, embed_tokens)

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        return_all_hiddens: bool = False,
        token_embeddings: Tensor | None = None,
    ) -> EncoderOut:
        """fairseq's, which asks in every layer whether there is padding: each time a GPU is waited for.

        Returns:
            fairseq's dictionary; ``encoder_padding_mask`` is empty if nothing is padded.
        """
        pad = src_tokens.eq(self.padding_idx)
        mask = pad if pad.any() else None
        states, embedding = self.states(src_tokens, mask, token_embeddings)
        return {
            "encoder_out": [states[-1]],
            "encoder_padding_mask": [] if mask is None else [mask],
            "encoder_embedding": [embedding],
            "encoder_states": states if return_all_hiddens else [],
            "src_tokens": [],
            "src_lengths": [(~pad).sum(1, dtype=torch.int32).unsqueeze(1)],
        }

    def states(
        self, src_tokens: Tensor, mask: Tensor | None, token_embeddings: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Hidden states before the first layer and after each, ``(src_len, batch, embed_dim)``, and the embedding.

        Args:
            src_tokens: ``(batch, src_len)``.
            mask: True at padding, same shape; None if there is none.
            token_embeddings: instead of those of ``src_tokens``.
        """
        x, embedding = self.forward_embedding(src_tokens, token_embeddings)
        if mask is not None:
            x = x.masked_fill(mask.unsqueeze(-1), 0)
        x = x.transpose(0, 1)
        states = [x]
        for layer in self.layers:
            x = layer(x, encoder_padding_mask=mask)
            states.append(x)
        return states, embedding

    def build_encoder_layer(self, cfg: TransformerConfig) -> nn.Module:
        """Called by fairseq's constructor, once per layer."""
        layer = BangEncoderLayer(cfg)
        return checkpoint_wrapper(layer) if cfg.checkpoint_activations else layer

    def reorder_encoder_out(self, encoder_out: EncoderOut, new_order: Tensor) -> EncoderOut:
        """Follow fairseq's search to the rows ``new_order``.

        The beams of a sentence stay side by side and share its output, which is copied neither for them nor when
        only they change places: the decoder tells them by their number.
        """
        sentences = encoder_out["encoder_out"][0].size(1)
        order, each = sentence_order(new_order, sentences, encoder_out.get("beams", 1))
        if order is not None:
            encoder_out = super().reorder_encoder_out(encoder_out, order)
        return {**encoder_out, "beams": each}

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        for layer in self.layers:
            layer.pack(precision)
