"""BANG's encoder: fairseq's post-LayerNorm Transformer encoder with BERT's embeddings."""

import torch.nn as nn
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase


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


class BangEncoder(TransformerEncoderBase):
    """Bidirectional encoder; output ``encoder_out`` is ``(src_len, batch, embed_dim)``."""

    def __init__(self, cfg, dictionary, embed_tokens: nn.Embedding):
        super().__init__(encoder_config(cfg), dictionary, embed_tokens)
