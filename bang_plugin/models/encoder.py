"""BANG's encoder: fairseq's post-LayerNorm Transformer encoder with BERT's embeddings."""

from typing import Dict, List, Optional

import torch.nn as nn
import torch.nn.functional as F
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from torch import Tensor

from ..decoding.beams import sentence_order
from ..modules.packed_linear import merged, pack_children, pack_feed_forward


def encoder_config(cfg) -> TransformerConfig:
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


class PackedSelfAttention(nn.Module):
    """The encoder's self-attention for inference, in the place and with the signature of fairseq's: one product
    for queries, keys and values."""

    def __init__(self, attention, precision: str):
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv_proj = merged(attention.q_proj, attention.k_proj, attention.v_proj, precision=precision)
        self.out_proj = attention.out_proj
        pack_children(self, ["out_proj"], precision)

    def forward(self, query: Tensor, key_padding_mask: Optional[Tensor] = None, **unused):
        """``(src_len, batch, embed_dim)`` -> the same and None; ``key_padding_mask`` ``(batch, src_len)``."""
        q, k, v = self.qkv_proj(query).unflatten(-1, (3, self.num_heads, -1)).permute(2, 1, 3, 0, 4)
        mask = None if key_padding_mask is None else ~key_padding_mask[:, None, None]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(out.permute(2, 0, 1, 3).flatten(2)), None


class BangEncoder(TransformerEncoderBase):
    """Bidirectional encoder; output ``encoder_out`` is ``(src_len, batch, embed_dim)``."""

    def __init__(self, cfg, dictionary, embed_tokens: nn.Embedding):
        super().__init__(encoder_config(cfg), dictionary, embed_tokens)

    def reorder_encoder_out(self, encoder_out: Dict[str, List[Tensor]], new_order: Tensor) -> Dict[str, List[Tensor]]:
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
        """For inference: see :mod:`packed_linear`."""
        for layer in self.layers:
            layer.self_attn = PackedSelfAttention(layer.self_attn, precision)
            pack_feed_forward(layer, precision)
