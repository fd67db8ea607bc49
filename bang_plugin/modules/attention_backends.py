"""Four ways to compute the same attention under the same ``Streams``.

``DenseAttention`` is the definition written out: all rows against all keys under one mask.
``CompactAttention`` computes only what can be seen: every row against the prefix, and every chain
against itself. ``FlexAttention`` leaves that to torch's block-sparse GPU kernel.
``FusedAttention`` is the dense one through torch's fused kernel, for decoding.
What they have in common is ``Backend``.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import BangError
from .relative_positions import relative_buckets
from .streams import Streams


def _softmax(scores: Tensor, dropout: float, dtype: torch.dtype) -> Tensor:
    precise = torch.promote_types(dtype, torch.float32)
    return F.dropout(F.softmax(scores, dim=-1, dtype=precise).to(dtype), dropout)


def _scaled(q: Tensor) -> Tensor:
    """As torch's kernels scale queries themselves."""
    scaled: Tensor = q * q.size(-1) ** -0.5
    return scaled


def _hide(scores: Tensor, hidden: Tensor) -> Tensor:
    # finite, so that rows of padding (which see nothing) stay free of NaN
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min)


def _add_bias(scores: Tensor, bias: Tensor, buckets: Tensor) -> Tensor:
    """Add to ``scores`` ``(batch, heads, rows, keys)`` the bias of each pair's bucket."""
    return scores + bias.gather(-1, buckets.unsqueeze(1).expand(scores.shape))


class Backend(Protocol):
    """Attention of one decoder pass: built once, then called by every layer.

    Args:
        streams: the rows of the pass and what they see.
        table: bucket of every distance, from ``bucket_table``.
    """

    def __init__(self, streams: Streams, table: Tensor) -> None: ...

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """Attend. All but FlexAttention may be asked for the last rows only: ``q`` and ``bias`` then hold just those.

        Args:
            q: queries, ``(batch, heads, rows, head_dim)``.
            k: keys, ``(batch, heads, slots + chain_len, head_dim)``.
            v: values, of the same shape.
            bias: bias of each distance bucket for each query, ``(batch, heads, rows, num_buckets)``.
            dropout: probability of dropping an attention weight.

        Returns:
            ``(batch, heads, rows, head_dim)``.
        """
        ...


class DenseAttention:
    """All rows against all keys under one boolean mask."""

    def __init__(self, streams: Streams, table: Tensor):
        self.hidden = ~streams.visibility().unsqueeze(1)
        self.buckets = relative_buckets(streams.positions, streams.key_positions, table)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """See ``Backend``."""
        asked = slice(self.hidden.size(2) - q.size(2), None)
        scores = _add_bias(_scaled(q) @ k.transpose(-1, -2), bias, self.buckets[:, asked])
        return _softmax(_hide(scores, self.hidden[:, :, asked]), dropout, q.dtype) @ v


class FusedAttention:
    """The dense mask and the bias as one additive mask of torch's ``scaled_dot_product_attention``.

    Fused where nothing needs a gradient.
    """

    def __init__(self, streams: Streams, table: Tensor):
        seen = streams.visibility()
        buckets = relative_buckets(streams.positions, streams.key_positions, table)
        self.hidden, self.buckets = (~seen).unsqueeze(1), buckets.unsqueeze(1)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """See ``Backend``."""
        hidden, buckets = self.hidden, self.buckets
        if q.size(2) < hidden.size(2):
            asked = slice(hidden.size(2) - q.size(2), None)
            hidden, buckets = hidden[:, :, asked], buckets[:, :, asked]
        mask = _hide(bias.gather(-1, buckets.expand(-1, q.size(1), -1, -1)), hidden)
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)


class CompactAttention:
    """Rows against the prefix, chains against themselves: ``slots + N`` keys per row.

    Chain rows may come in any number and order; for the attention inside chains they are laid out as a
    grid ``(chains, longest)``, where places that no row fills are hidden.
    """

    def __init__(self, streams: Streams, table: Tensor):
        self.prefix_len = streams.prefix_len
        self.hidden_prefix = ~streams.sees_prefix().unsqueeze(1)
        self.prefix_buckets = relative_buckets(streams.positions, streams.prefix_positions, table)
        element, chain = streams.element, streams.chain
        bsz, rows = element.shape
        self.longest, self.chains = max(streams.longest, 1), max(streams.chains, 1)
        # filler rows point at the last, unused place of the grid
        places = self.chains * self.longest
        place = (chain * self.longest + element - 1).masked_fill(element == 0, places)
        row_at = torch.zeros(bsz, places + 1, dtype=torch.long, device=element.device)
        row_at.scatter_(1, place, torch.arange(rows, device=element.device).expand(bsz, -1))
        self.row_at = row_at[:, None, :-1, None]  # (batch, 1, places, 1)
        self.place = place.clamp(max=places - 1)[:, None, :, None]  # (batch, 1, chain_len, 1)
        step = torch.arange(1, self.longest + 1, device=element.device)
        self.hidden_chain = (step > element.unsqueeze(-1)).unsqueeze(1)  # (batch, 1, chain_len, longest)
        self.chain_buckets = table[(element.unsqueeze(-1) - step).clamp(0, table.numel() - 1)]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """See ``Backend``."""
        skipped, slots = self.hidden_prefix.size(2) - q.size(2), self.prefix_buckets.size(-1)
        p, q = self.prefix_len - skipped, _scaled(q)
        scores = _add_bias(q @ k[:, :, :slots].transpose(-1, -2), bias, self.prefix_buckets[:, skipped:])
        scores = _hide(scores, self.hidden_prefix[:, :, skipped:])
        v_prefix = v[:, :, :slots]
        prefix_out = _softmax(scores[:, :, :p], dropout, q.dtype) @ v_prefix
        if p == q.size(2):
            return prefix_out
        q_grid, k_grid, v_grid = self._grid(q[:, :, p:]), self._grid(k[:, :, slots:]), self._grid(v[:, :, slots:])
        chain_scores = self._rows(q_grid @ k_grid.transpose(-1, -2))
        chain_scores = _hide(_add_bias(chain_scores, bias[:, :, p:], self.chain_buckets), self.hidden_chain)
        weights = _softmax(torch.cat([scores[:, :, p:], chain_scores], dim=-1), dropout, q.dtype)
        inside = self._rows(self._grid(weights[..., slots:]) @ v_grid)
        return torch.cat([prefix_out, weights[..., :slots] @ v_prefix + inside], dim=2)

    def _grid(self, x: Tensor) -> Tensor:
        """``(batch, heads, chain_len, n)`` -> ``(batch, heads, chains, longest, n)``."""
        index = self.row_at.expand(-1, x.size(1), -1, x.size(-1))
        return x.gather(2, index).unflatten(2, (self.chains, self.longest))

    def _rows(self, x: Tensor) -> Tensor:
        """``(batch, heads, chains, longest, n)`` -> ``(batch, heads, chain_len, n)``."""
        return x.flatten(2, 3).gather(2, self.place.expand(-1, x.size(1), -1, x.size(-1)))


class FlexAttention:
    """torch's FlexAttention: the visibility as a block mask, the bias inside the kernel.

    For GPUs; it has no attention dropout, and on a CPU no backward pass.
    """

    smallest_head = 16  # dimensions that its kernels' matrix products need
    _compiled: ClassVar[Callable[..., Any] | None] = None

    def __init__(self, streams: Streams, table: Tensor):
        from torch.nn.attention.flex_attention import create_block_mask

        seen, positions, key_positions = streams.visibility(), streams.positions, streams.key_positions
        bsz, rows, keys = seen.shape
        self.mask = create_block_mask(
            lambda b, h, row, key: seen[b, row, key], bsz, None, rows, keys, device=str(seen.device)
        )
        last = table.numel() - 1
        self.bucket: Callable[..., Tensor] = lambda b, row, key: table[
            (positions[b, row] - key_positions[b, key]).clamp(0, last)
        ]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """See ``Backend``."""

        def score(value: Tensor, b: Tensor, h: Tensor, row: Tensor, key: Tensor) -> Tensor:
            return value + bias[b, h, row, self.bucket(b, row, key)]

        return self._kernel(q)(_scaled(q), k, v, score_mod=score, block_mask=self.mask, scale=1.0)

    @classmethod
    def _kernel(cls, q: Tensor) -> Callable[..., Any]:
        from torch.nn.attention.flex_attention import flex_attention

        if not q.is_cuda:
            return flex_attention
        if cls._compiled is None:
            cls._compiled = torch.compile(flex_attention, dynamic=True)
        return cls._compiled


BACKENDS: dict[str, type[Backend]] = {
    "dense": DenseAttention,
    "fused": FusedAttention,
    "compact": CompactAttention,
    "flex": FlexAttention,
}


def choose_backend(name: str, streams: Streams, dropout: float, head_dim: int) -> type[Backend]:
    """The backend class for ``--attention-backend``; ``auto`` takes the fastest one that applies.

    The few rows of a decoding pass leave the dense mask little to waste; in training, GPUs take
    FlexAttention unless attention weights are dropped out or heads are too small for its kernel, and everything else
    the compact one.

    Raises:
        BangError: if FlexAttention is asked for what it cannot do.
    """
    on_gpu = streams.positions.is_cuda
    if name == "flex":
        if dropout > 0:
            raise BangError("--attention-backend flex cannot drop attention weights: use --attention-dropout 0 or auto")
        if torch.is_grad_enabled() and not on_gpu:
            raise BangError("--attention-backend flex has gradients on GPUs only: use auto or compact")
    if name in ("auto", "flex") and streams.target_slot is None:
        return FusedAttention
    if name == "flex" and on_gpu and head_dim < FlexAttention.smallest_head:
        raise BangError(
            f"--attention-backend flex needs {FlexAttention.smallest_head} dimensions a head on a GPU, here are "
            f"{head_dim}: use auto, compact or fewer --decoder-attention-heads"
        )
    if name != "auto":
        return BACKENDS[name]
    flex = on_gpu and dropout == 0 and head_dim >= FlexAttention.smallest_head
    return FlexAttention if flex else CompactAttention
