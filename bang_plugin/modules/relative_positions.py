"""Bucketed relative distances, as in T5: exact when small, logarithmic when large."""

import math

import torch
from torch import Tensor


def bucket_table(num_buckets: int = 32, max_distance: int = 128) -> Tensor:
    """Bucket of every distance ``0 … max_distance``; longer ones share the last bucket.

    Args:
        num_buckets: half of them hold one distance each, the rest grow logarithmically.
        max_distance: distance, in tokens, from which on all share the last bucket.

    Returns:
        LongTensor ``(max_distance + 1,)``.
    """
    exact = num_buckets // 2
    distance = torch.arange(max_distance + 1)
    ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    logarithmic = exact + (ratio * (num_buckets - exact)).long()
    return torch.where(distance < exact, distance, logarithmic.clamp(max=num_buckets - 1))


def relative_buckets(query_positions: Tensor, key_positions: Tensor, table: Tensor) -> Tensor:
    """Bucket of each (query, key) pair; keys ahead of their query count as distance 0.

    Args:
        query_positions: ``(batch, queries)``.
        key_positions: ``(batch, keys)``.
        table: from ``bucket_table``.

    Returns:
        LongTensor ``(batch, queries, keys)``.
    """
    distance = query_positions.unsqueeze(-1) - key_positions.unsqueeze(-2)
    return table[distance.clamp(0, table.numel() - 1)]
