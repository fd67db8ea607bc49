"""Self-attention of prefix and chains with a learned bias on bucketed distances.

One module serves every mode; what differs between modes is only the ``Streams`` that say
which key a row sees, and the backend that computes the weights.
"""

import torch
import torch.nn.functional as F
from fairseq.modules import FairseqDropout
from torch import Tensor, nn

from .attention_backends import Backend
from .cache import LayerCache
from .fused_attention import dropout_rate
from .packed_linear import PackedLinear, pack_children
from .relative_positions import bucket_table


class NStreamAttention(nn.Module):
    """Multi-head self-attention over prefix and chains.

    The bias of bucket b for a query is ``relative_linear(hidden)`` of that query: it depends on what
    the query is, not only on how far the key lies. Parameter names are those of the release.

    Args:
        embed_dim: model dimension.
        num_heads: attention heads; divides ``embed_dim``.
        dropout: of attention weights, in training.
        num_buckets, max_distance: see ``bucket_table``.
    """

    bucket_table: Tensor

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        num_buckets: int = 32,
        max_distance: int = 128,
    ):
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = FairseqDropout(dropout, module_name=self.__class__.__name__)
        self.num_buckets = num_buckets
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.relative_linear = nn.Linear(embed_dim, num_buckets * num_heads)
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.register_buffer("bucket_table", bucket_table(num_buckets, max_distance), persistent=False)
        self.packed: PackedLinear | None = None
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)
        nn.init.normal_(self.relative_linear.weight, std=embed_dim**-0.5)
        nn.init.zeros_(self.relative_linear.bias)

    def forward(self, hidden: Tensor, attend: Backend, cache: LayerCache | None = None, skip: int = 0) -> Tensor:
        """Attend from all rows but the first ``skip``.

        Args:
            hidden: ``(batch, rows, embed_dim)``.
            attend: backend built from this pass's Streams.
            cache: keys and values of earlier passes, to which those of this pass are written.
            skip: leading rows that only others look at: their own outputs are not computed.

        Returns:
            ``(batch, rows - skip, embed_dim)``.
        """
        bsz, rows, dim = hidden.shape
        qkv, bias = self._project(hidden)
        q, k, v = qkv.view(bsz, rows, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            k, v = cache.write(k, v)
        bias = bias.view(bsz, rows, self.num_buckets, self.num_heads).permute(0, 3, 1, 2)
        if skip:
            q, bias = q[:, :, skip:], bias[:, :, skip:]
        out = attend(q, k, v, bias, dropout_rate(self.dropout))
        return self.out_proj(out.transpose(1, 2).reshape(bsz, rows - skip, dim))

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Queries, keys and values ``(batch, rows, 3 x embed_dim)``, and the bias of each bucket for each row."""
        if self.packed is not None:
            projected = self.packed(hidden)
            return projected[..., : 3 * self.embed_dim], projected[..., 3 * self.embed_dim :]
        return F.linear(hidden, self.in_proj_weight, self.in_proj_bias), self.relative_linear(hidden)

    def pack(self, precision: str) -> None:
        """For inference: see ``packed_linear``."""
        pack_children(self, ["out_proj"], precision)
        weight = torch.cat([self.in_proj_weight, self.relative_linear.weight])
        self.packed = PackedLinear(weight, torch.cat([self.in_proj_bias, self.relative_linear.bias]), precision)
        for name in ("in_proj_weight", "in_proj_bias", "relative_linear"):
            setattr(self, name, None)
