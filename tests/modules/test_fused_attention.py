"""Attention of the encoder and to it: torch's numbers, fairseq's module, and less memory with dropout."""

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention

from bang_plugin.models.encoder import EncoderSelfAttention
from bang_plugin.modules.fused_attention import fused_attention


def _saved_numbers(function) -> int:
    """Numbers that autograd keeps for the backward pass of ``function``."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        function()
    return sum(kept)


def test_dropout_is_that_of_torch_gradients_included():
    inputs = [torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3)]
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    mask[1, ..., -2:] = False
    results = []
    for function in (fused_attention, F.scaled_dot_product_attention):
        torch.manual_seed(1)
        out = function(*inputs, mask, 0.3)
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


def test_weights_are_not_kept_for_the_backward_pass():
    q, k, v = (torch.randn(1, 1, 50, 4, requires_grad=True) for _ in range(3))
    assert _saved_numbers(lambda: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)) > 2 * 50 * 50
    assert _saved_numbers(lambda: fused_attention(q, k, v, dropout=0.1)) < 50 * 50


def test_encoder_attention_is_fairseqs():
    torch.manual_seed(0)
    theirs = MultiheadAttention(8, 2, self_attention=True)
    ours = EncoderSelfAttention(8, 2, self_attention=True)
    ours.load_state_dict(theirs.state_dict())
    x, padding = torch.randn(5, 3, 8), torch.zeros(3, 5, dtype=torch.bool)
    padding[1, :2] = True
    expected, _ = theirs(x, x, x, key_padding_mask=padding, need_weights=False)
    torch.testing.assert_close(ours(x, padding)[0], expected)
