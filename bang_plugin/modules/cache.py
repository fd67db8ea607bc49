"""Keys and values of the prefix, kept between decoder passes.

Slot i of the cache holds the i-th committed row of a sentence. Rows that a pass computes without
committing them (masks, rejected drafts) land behind the committed ones and are overwritten by
the next pass.
"""

from collections.abc import Sequence
from typing import List, NamedTuple, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .beams import rows_of, sentence_order
from .streams import Streams, TreeRows


class LayerCache(NamedTuple):
    """What one layer sees of the cache in one pass.

    Attributes:
        keys, values: views ``(batch, heads, slots + chain_len, head_dim)``; this pass's rows are yet to be written.
        ragged_slots: where each sentence's new prefix rows go, ``(batch, prefix_len)``; None if they go side by side.
        sentences: those that take part in the pass; None if all do.
    """

    keys: Tensor
    values: Tensor
    ragged_slots: Optional[Tensor]
    sentences: Optional[Tensor] = None

    def write(self, k: Tensor, v: Tensor) -> Tuple[Tensor, Tensor]:
        """Store this pass's rows; return all keys and values that the pass may look at.

        Args:
            k, v: ``(batch, heads, rows, head_dim)``, prefix rows first.
        """
        self._store(self.keys, k)
        self._store(self.values, v)
        if self.sentences is None:
            return self.keys, self.values
        return self.keys[self.sentences], self.values[self.sentences]

    def _store(self, buffer: Tensor, rows: Tensor) -> None:
        if self.ragged_slots is not None:
            prefix_len = self.ragged_slots.size(1)
            batch = torch.arange(rows.size(0), device=rows.device) if self.sentences is None else self.sentences
            buffer[batch.unsqueeze(1), :, self.ragged_slots] = rows[:, :, :prefix_len].transpose(1, 2)
            rows = rows[:, :, prefix_len:]
        first, count = buffer.size(2) - rows.size(2), rows.size(2)
        if self.sentences is None:
            buffer.narrow(2, first, count).copy_(rows)
        else:
            buffer[self.sentences, :, first:] = rows


class DecodingCache:
    """State of a batch of sentences that are being written.

    Args:
        batch_size: sentences (or beams).
        layers: decoder layers.
        heads, head_dim: of their self-attention.
        positions: the position table, ``(positions, embed_dim)``, whose type and device the cache has too.
        first_position: its index of slot 0.

    Attributes:
        lengths: committed slots of each sentence, ``(batch,)``.
        longest: the most of them.
        cross: cross-attention keys and values by layer, computed once; beams of one sentence share them.
    """

    def __init__(self, batch_size: int, layers: int, heads: int, head_dim: int, positions: Tensor, first_position: int):
        self.lengths = torch.zeros(batch_size, dtype=torch.long, device=positions.device)
        self.longest = 0
        self.first_position, self.last_position = first_position, len(positions) - 1
        self.cross: List[Optional[Tuple[Tensor, Tensor]]] = [None] * layers
        # keys and values of all layers, (layers, batch, heads, capacity, head_dim): beams move in one step
        self._buffers = [positions.new_zeros(layers, batch_size, heads, 0, head_dim) for _ in range(2)]
        self._views: Sequence[Tensor | Sequence[Tensor]] = ()
        self._ragged_slots: Optional[Tensor] = None
        self._sentences: Optional[Tensor] = None
        # lengths again, if they differ, where Python can look without waiting for a GPU
        self._known: Optional[np.ndarray] = None

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
        slots = self.lengths.unsqueeze(1) + torch.arange(prefix_len, device=device)
        self._lay_out(self.longest + prefix_len + singles + block_size, None if self._known is None else slots)
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
            chains=singles + 1,
            longest=block_size,
        )

    def plan_tree(self, rows: TreeRows, sentences: Optional[Tensor] = None) -> Streams:
        """Rows of the next pass where the prefix is a tree.

        Args:
            rows: tensors; the prefix rows fill each sentence's next slots in their order.
            sentences: those that take part in the pass, and whose rows these are; all if None.
        """
        lengths = self.lengths if sentences is None else self.lengths[sentences]
        slots = lengths.unsqueeze(1) + torch.arange(rows.tokens.size(1), device=lengths.device)
        used = self.longest + rows.depths.size(1)
        self._lay_out(used, None if self._known is None else slots, sentences)
        return Streams(
            positions=(rows.depths + self.first_position).clamp(max=self.last_position),
            visible=rows.seen,
            prefix_positions=rows.slot_depths + self.first_position,
            chain=rows.chain,
            element=rows.element,
            chains=rows.tokens.size(1),
            longest=rows.chain.size(1),
        )

    def _lay_out(self, used: int, ragged_slots: Optional[Tensor], sentences: Optional[Tensor] = None) -> None:
        """Make room for ``used`` slots, for which ``layer`` then gives views."""
        more = used - self._buffers[0].size(3)
        if more > 0:
            more = max(more + used, 16)
            self._buffers = [F.pad(buffer, (0, 0, 0, more)) for buffer in self._buffers]
        views = [buffer.narrow(3, 0, used) for buffer in self._buffers]
        # torch writes to no views that were made all at once where there are gradients
        self._views = views if torch.is_grad_enabled() else [view.unbind(0) for view in views]
        self._ragged_slots, self._sentences = ragged_slots, sentences

    def layer(self, i: int) -> LayerCache:
        """What layer ``i`` sees in the pass that was planned last."""
        keys, values = (view[i] for view in self._views)
        return LayerCache(keys, values, self._ragged_slots, self._sentences)

    def cross_of(self, i: int) -> Tuple[Tensor, Tensor]:
        """Cross-attention keys and values of layer ``i`` for the sentences of the pass that was planned last."""
        keys_values = self.cross[i]
        assert keys_values is not None  # a pass computes them before it asks
        if self._sentences is None:
            return keys_values
        keys, values = (x.index_select(0, self._sentences) for x in keys_values)
        return keys, values

    def advance(self, counts: int | Tensor, known: Optional[np.ndarray] = None) -> None:
        """Commit the first ``counts`` of the last pass's prefix rows.

        Args:
            counts: of every sentence, or of each, ``(batch,)``.
            known: the latter for Python, which else waits for a GPU.
        """
        self.lengths = self.lengths + counts
        if isinstance(counts, int):
            self.longest += counts
            self._known = self._known if self._known is None else self._known + counts
        else:
            known = counts.cpu().numpy() if known is None else known
            self._note((self.longest if self._known is None else self._known) + known)

    def _note(self, lengths: np.ndarray) -> None:
        self.longest = int(lengths.max()) if len(lengths) else 0
        self._known = None if (lengths == self.longest).all() else lengths

    def keep_slots(self, kept: Tensor, counts: Tensor, known: np.ndarray) -> None:
        """Keep some slots of each sentence.

        Args:
            kept: which become the first ones, in that order, ``(batch, n)``.
            counts: how many of these each sentence has, ``(batch,)``.
            known: the same for Python.
        """
        layers, _, heads, _, dim = self._buffers[0].shape
        index = kept[None, :, None, :, None].expand(layers, -1, heads, -1, dim)
        self._buffers = [buffer.gather(3, index) for buffer in self._buffers]
        self.lengths = counts
        self._note(known)

    def select(self, order: Tensor) -> None:
        """Keep the sentences (or beams) ``order``, in that order."""
        rows = self.lengths.numel()
        if rows == len(order) == 1:
            return
        kept = rows_of(order)
        if np.array_equal(kept, np.arange(rows)):
            return
        self._select_cross(order, rows)
        self.lengths = self.lengths.index_select(0, order)
        if self._known is not None:
            self._note(self._known[kept])
        self._buffers = [self._selected(buffer, order) for buffer in self._buffers]

    def _selected(self, buffer: Tensor, order: Tensor) -> Tensor:
        kept = buffer[:, :, :, : self.longest].index_select(1, order)
        if len(order) != buffer.size(1):
            buffer = buffer.new_zeros(len(buffer), len(order), *buffer.shape[2:])
        buffer[:, :, :, : self.longest] = kept
        return buffer

    def _select_cross(self, order: Tensor, rows: int) -> None:
        if self.cross and self.cross[0] is not None and rows:
            sentences = len(self.cross[0][0])
            kept, _ = sentence_order(order, sentences, rows // sentences)
            if kept is not None:
                self.cross = [kv and (kv[0].index_select(0, kept), kv[1].index_select(0, kept)) for kv in self.cross]
