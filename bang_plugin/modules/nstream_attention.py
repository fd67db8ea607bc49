"""Self-attention of prefix and chains with a learned bias on bucketed distances.

One module serves every mode; what differs between modes is only the :class:`Streams` that say
which key a row sees. A backend turns Streams into attention weights: :class:`DenseAttention` is
the definition written out.
"""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .relative_positions import bucket_table, relative_buckets
from .streams import Streams


class DenseAttention:
    """Attention over all keys under one boolean mask. Built once per pass, used by every layer.

    Args:
        streams: rows and what they see.
        table: bucket of each distance, from :func:`bucket_table`.
    """

    def __init__(self, streams: Streams, table: Tensor):
        self.hidden_keys = ~streams.visibility().unsqueeze(1)  # (batch, 1, rows, keys)
        self.buckets = relative_buckets(streams.positions, streams.key_positions, table).unsqueeze(1)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
        """
        Args:
            q: scaled queries, ``(batch, heads, rows, head_dim)``.
            k, v: ``(batch, heads, keys, head_dim)``.
            bias: bias of each bucket for each query, ``(batch, heads, rows, num_buckets)``.
            dropout: probability of dropping an attention weight.

        Returns:
            ``(batch, heads, rows, head_dim)``.
        """
        scores = q @ k.transpose(-1, -2)
        buckets = self.buckets.expand(scores.shape)
        scores = scores + bias.gather(-1, buckets)
        # finite, so that rows of padding (which see nothing) stay free of NaN
        scores = scores.masked_fill(self.hidden_keys, torch.finfo(scores.dtype).min)
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).type_as(q)
        return F.dropout(weights, dropout) @ v


class NStreamAttention(nn.Module):
    """Multi-head self-attention over prefix and chains.

    The bias of bucket b for a query is ``relative_linear(hidden)`` of that query: it depends on what
    the query is, not only on how far the key lies. Parameter names are those of the release.

    Args:
        embed_dim: model dimension.
        num_heads: attention heads; divides ``embed_dim``.
        dropout: of attention weights, in training.
        num_buckets, max_distance: see :func:`bucket_table`.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        num_buckets: int = 32,
        max_distance: int = 128,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.num_buckets = num_buckets
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.relative_linear = nn.Linear(embed_dim, num_buckets * num_heads)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.register_buffer("bucket_table", bucket_table(num_buckets, max_distance), persistent=False)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)
        nn.init.normal_(self.relative_linear.weight, std=embed_dim**-0.5)
        nn.init.zeros_(self.relative_linear.bias)

    def forward(self, hidden: Tensor, attend, cache: Optional["LayerCache"] = None) -> Tensor:  # noqa: F821
        """
        Args:
            hidden: ``(batch, rows, embed_dim)``.
            attend: backend built from this pass's Streams.
            cache: keys and values of earlier passes; those of this pass are written to it.

        Returns:
            ``(batch, rows, embed_dim)``.
        """
        q, k, v = (self._heads(x) for x in F.linear(hidden, self.in_proj_weight, self.in_proj_bias).chunk(3, -1))
        if cache is not None:
            k, v = cache.write(k, v)
        # (batch, rows, buckets x heads) -> (batch, heads, rows, buckets)
        bias = self.relative_linear(hidden).unflatten(-1, (self.num_buckets, self.num_heads)).permute(0, 3, 1, 2)
        out = attend(q * self.head_dim**-0.5, k, v, bias, self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
