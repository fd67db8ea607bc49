"""Keys and values of the prefix, kept between decoder passes.

Slot i of the cache holds the i-th committed row of a sentence. Rows that a pass computes without
committing them (masks, rejected drafts) land behind the committed ones and are overwritten by
the next pass.
"""

from typing import List, Optional, Tuple

import torch
from torch import Tensor

from ..modules.streams import Streams
from .beams import sentence_order


class LayerCache:
    """One layer's preallocated keys and values, ``(batch, heads, capacity, head_dim)``."""

    def __init__(self, owner: "DecodingCache"):
        self.owner = owner
        self.k: Optional[Tensor] = None
        self.v: Optional[Tensor] = None

    def write(self, k: Tensor, v: Tensor) -> Tuple[Tensor, Tensor]:
        """Store this pass's rows; return all keys and values that the pass may look at.

        Args:
            k, v: ``(batch, heads, rows, head_dim)``, prefix rows first.

        Returns:
            views ``(batch, heads, slots + chain_len, head_dim)``.
        """
        used = self.owner.used
        if self.k is None or self.k.size(2) < used:
            self.k, self.v = self._grown(self.k, k, used), self._grown(self.v, v, used)
        self._store(self.k, k)
        self._store(self.v, v)
        return self.k[:, :, :used], self.v[:, :, :used]

    @staticmethod
    def _grown(old: Optional[Tensor], like: Tensor, used: int) -> Tensor:
        capacity = max(2 * used, 16)
        new = like.new_zeros(like.size(0), like.size(1), capacity, like.size(3))
        if old is not None:
            new[:, :, : old.size(2)] = old
        return new

    def _store(self, buffer: Tensor, rows: Tensor) -> None:
        owner = self.owner
        count = rows.size(2)
        if owner.ragged_slots is None:
            buffer[:, :, owner.used - count : owner.used] = rows
            return
        prefix_len = owner.ragged_slots.size(1)
        batch = torch.arange(rows.size(0), device=rows.device).unsqueeze(1)
        buffer[batch, :, owner.ragged_slots] = rows[:, :, :prefix_len].transpose(1, 2)
        buffer[:, :, owner.used - (count - prefix_len) : owner.used] = rows[:, :, prefix_len:]

    def select(self, order: Tensor) -> None:
        if self.k is not None:
            self.k, self.v = self._selected(self.k, order), self._selected(self.v, order)

    def _selected(self, buffer: Tensor, order: Tensor) -> Tensor:
        kept = buffer[:, :, : self.owner.longest].index_select(0, order)
        if len(order) != len(buffer):
            buffer = buffer.new_zeros(len(order), *buffer.shape[1:])
        buffer[:, :, : self.owner.longest] = kept
        return buffer


class DecodingCache:
    """State of a batch of sentences that are being written.

    Args:
        batch_size: sentences (or beams).
        num_layers: decoder layers.
        first_position: position-table index of slot 0.
        last_position: last index of the position table.
        device: of the cached tensors.

    Attributes:
        lengths: committed slots of each sentence, ``(batch,)``.
        cross: cross-attention keys and values by layer, computed once; beams of one sentence share them.
    """

    def __init__(self, batch_size: int, num_layers: int, first_position: int, last_position: int, device=None):
        self.lengths = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.longest = 0
        self.first_position, self.last_position = first_position, last_position
        self.layers = [LayerCache(self) for _ in range(num_layers)]
        self.cross: List[Optional[Tuple[Tensor, Tensor]]] = [None] * num_layers
        self.used = 0
        self.ragged_slots: Optional[Tensor] = None
        self._uniform = True

    def plan(self, prefix_len: int, block_size: int, counts: Optional[Tensor] = None, verify: bool = False) -> Streams:
        """Rows of the next pass: new prefix rows, then a chain of masks after the last of them.

        Args:
            prefix_len: new prefix rows (columns; see ``counts``).
            block_size: masks in a chain.
            counts: how many of the new prefix rows are real in each sentence, ``(batch,)``;
                all if None.
            verify: before that chain, a chain of one mask after each new prefix row but the last column's.

        Returns:
            Streams for the decoder, whose keys are the cache's slots and then the chains.
        """
        bsz, device = self.lengths.numel(), self.lengths.device
        singles = prefix_len - 1 if verify else 0
        self.used = self.longest + prefix_len + singles + block_size
        slots = self.lengths.unsqueeze(1) + torch.arange(prefix_len, device=device)
        self.ragged_slots = None if self._uniform else slots
        chain = torch.arange(singles + block_size, device=device).clamp(max=singles).expand(bsz, -1)
        element = torch.arange(1 - singles, block_size + 1, device=device).clamp(min=1).expand(bsz, -1)
        last = (self.lengths + (prefix_len if counts is None else counts) - 1).unsqueeze(1)
        anchor = torch.cat([slots[:, :singles], last.expand(-1, block_size)], dim=1)
        stored = torch.arange(self.longest + prefix_len, device=device)
        positions = torch.cat([slots, anchor + element], dim=1) + self.first_position
        return Streams(
            # sentences near their limit have masks beyond it, which predict nothing that is kept
            positions=positions.clamp(max=self.last_position),
            visible=torch.cat([slots, anchor], dim=1) + 1,
            prefix_positions=(stored + self.first_position).expand(bsz, -1),
            chain=chain,
            element=element,
        )

    def advance(self, counts) -> None:
        """Commit the first ``counts`` of the last pass's prefix rows: an int, or ``(batch,)``."""
        if isinstance(counts, int):
            self.longest += counts
            self.lengths = self.lengths + counts
            return
        self.lengths = self.lengths + counts
        self.longest = int(self.lengths.max()) if counts.numel() else 0
        self._uniform = bool((self.lengths == self.longest).all())

    def select(self, order: Tensor) -> None:
        """Keep the sentences (or beams) ``order``, in that order."""
        rows = self.lengths.numel()
        if torch.equal(order, torch.arange(rows, device=order.device)):
            return
        self._select_cross(order, rows)
        self.lengths = self.lengths.index_select(0, order)
        if not self._uniform and order.numel():
            self.longest = int(self.lengths.max())
            self._uniform = bool((self.lengths == self.longest).all())
        for layer in self.layers:
            layer.select(order)

    def _select_cross(self, order: Tensor, rows: int) -> None:
        if self.cross and self.cross[0] is not None and rows:
            sentences = len(self.cross[0][0])
            order, _ = sentence_order(order, sentences, rows // sentences)
            if order is not None:
                self.cross = [(k.index_select(0, order), v.index_select(0, order)) for k, v in self.cross]
