"""Attention without a bias: of the encoder to itself, and of the decoder to the encoder."""

import torch
import torch.nn.functional as F
from fairseq.modules import FairseqDropout
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def dropout_rate(dropout: FairseqDropout) -> float:
    """What it drops now: nothing outside training, unless ``--retain-dropout`` says so."""
    return dropout.p if dropout.training or dropout.apply_during_inference else 0.0


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """torch's ``scaled_dot_product_attention``, in the memory of a fused kernel also where there is none.

    On a CPU the kernel has no dropout: torch then writes the weights out and keeps three matrices of them for the
    backward pass, most of what training holds. They are computed again there instead, with the same dropout.

    Args:
        q, k, v: ``(batch, heads, queries or keys, head_dim)``.
        mask: True where a query sees a key, broadcastable to ``(batch, heads, queries, keys)``.
        dropout: probability of dropping an attention weight.

    Returns:
        ``(batch, heads, queries, head_dim)``.
    """
    if dropout > 0 and q.device.type == "cpu" and torch.is_grad_enabled():
        return checkpoint(F.scaled_dot_product_attention, q, k, v, mask, dropout, use_reentrant=False)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
