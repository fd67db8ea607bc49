"""Which rows the decoder computes and what each of them may see.

The decoder's input is a **prefix** of real tokens y_0 … y_s followed by **chains** of masks.
A chain anchored after y_s sees y_0 … y_s; its element j (1, 2, …) predicts y_{s+j} and sees the
chain's elements 1 … j. AR is one element after every prefix, NAR is one chain after the empty
prefix, and "predicting stream k" of the paper (section 3) is element k of every chain.
"""

from dataclasses import dataclass
from typing import NamedTuple, Optional

import torch
from torch import Tensor


@dataclass
class Streams:
    """Rows of one decoder pass: ``prefix_len`` prefix rows, then ``chain_len`` chain rows.

    Keys are the prefix slots (those cached by earlier passes included) followed by this
    pass's chain rows, in the order of the rows.

    Attributes:
        positions: position-table index of every row, ``(batch, prefix_len + chain_len)``.
        visible: prefix slots that each row sees: how many leading ones, same shape; or, where the prefix is a tree,
            which ones, booleans ``(batch, prefix_len + chain_len, slots)``.
        prefix_positions: position of every prefix slot, ``(batch, slots)``.
        chain: number of the chain that each chain row belongs to, ``(batch, chain_len)``.
        element: place j >= 1 of each chain row in its chain, ``(batch, chain_len)``;
            0 marks filler that belongs to no chain.
        prefix_pad: prefix slots that hold padding, ``(batch, slots)``, or None.
        target_slot: for every chain row, the index into ``target`` of the token that it predicts,
            ``(batch, chain_len)``; None outside training.
        chains: more than any number in ``chain``, and
        longest: the highest number in ``element``, both known without waiting for a GPU.
    """

    positions: Tensor
    visible: Tensor
    prefix_positions: Tensor
    chain: Tensor
    element: Tensor
    prefix_pad: Optional[Tensor] = None
    target_slot: Optional[Tensor] = None
    chains: int = 1
    longest: int = 1

    @property
    def chain_len(self) -> int:
        """Mask rows of this pass."""
        return self.element.size(1)

    @property
    def prefix_len(self) -> int:
        """Prefix rows of this pass."""
        return self.positions.size(1) - self.chain_len

    @property
    def key_positions(self) -> Tensor:
        """Position of every key, ``(batch, slots + chain_len)``."""
        return torch.cat([self.prefix_positions, self.positions[:, self.prefix_len :]], dim=1)

    def sees_prefix(self) -> Tensor:
        """True where a row sees a prefix slot, ``(batch, rows, slots)``."""
        seen = self.visible
        if seen.dtype != torch.bool:
            seen = torch.arange(self.prefix_positions.size(1), device=seen.device) < seen.unsqueeze(-1)
        return seen if self.prefix_pad is None else seen & ~self.prefix_pad.unsqueeze(1)

    def visibility(self) -> Tensor:
        """The definition itself: True where a row sees a key, ``(batch, rows, slots + chain_len)``."""
        same_chain = self.chain.unsqueeze(-1) == self.chain.unsqueeze(-2)
        not_later = self.element.unsqueeze(-2) <= self.element.unsqueeze(-1)
        is_element = self.element.unsqueeze(-2) > 0
        sees_chain = same_chain & not_later & is_element
        no_chain = sees_chain.new_zeros(()).expand(sees_chain.size(0), self.prefix_len, self.chain_len)
        return torch.cat([self.sees_prefix(), torch.cat([no_chain, sees_chain], dim=1)], dim=2)


class TreeRows(NamedTuple):
    """Rows of one decoder pass where every sentence's prefix is a tree.

    Attributes:
        tokens: of the prefix rows, ``(batch, n)``.
        depths: how many tokens stand before each row, ``(batch, n + chain_len)``.
        slot_depths: of what the cache's slots hold, those of the new prefix rows included, ``(batch, slots)``.
        seen: slots that each row sees, ``(batch, n + chain_len, slots)``.
        chain: prefix row that each chain row's chain stands behind, ``(batch, chain_len)``.
        element: place of each chain row in its chain, same shape; 0 marks filler.
        places: chain rows that are not filler, by their number in the batch.
    """

    tokens: Tensor
    depths: Tensor
    slot_depths: Tensor
    seen: Tensor
    chain: Tensor
    element: Tensor
    places: Tensor


@dataclass
class Extent:
    """Sizes of the rows of n-stream training, which depend on numbers that lie on the GPU.

    Attributes:
        rows: most chain rows of a sentence.
        longest: most elements of a chain.
        chains: slots up to the last chain's.
    """

    rows: int
    longest: int
    chains: int

    @classmethod
    def of(cls, chain_lengths: Tensor) -> "Extent":
        """Those of chains of ``chain_lengths`` ``(batch, tgt_len)``."""
        return cls(*cls.measure(chain_lengths).tolist())

    @staticmethod
    def measure(chain_lengths: Tensor) -> Tensor:
        """The three numbers, ``(3,)``, on the device of ``chain_lengths``."""
        if not chain_lengths.numel():
            return chain_lengths.new_zeros(3)
        slot = torch.arange(1, chain_lengths.size(1) + 1, device=chain_lengths.device)
        last = (slot * (chain_lengths > 0)).max()
        return torch.stack([chain_lengths.sum(1).max(), chain_lengths.max(), last])


def teacher_forcing(
    prefix_positions: Tensor,
    prefix_pad: Optional[Tensor],
    chain_lengths: Tensor,
    full: bool = False,
    extent: Optional[Extent] = None,
) -> Streams:
    """Rows of n-stream training: the whole prefix and a chain after every slot (paper section 3.2).

    Args:
        prefix_positions: positions of the decoder inputs y_0 … y_{T-1}, ``(batch, tgt_len)``.
        prefix_pad: True at padding, ``(batch, tgt_len)``.
        chain_lengths: elements of the chain anchored at each slot, ``(batch, tgt_len)``.
        full: keep the filler of a regular ``(tgt_len, longest chain)`` grid in the rows instead
            of only the elements that predict something.
        extent: of ``chain_lengths``, if it is known already.

    Returns:
        Streams whose ``target_slot`` of element j after slot s is ``s + j - 1``.
    """
    bsz, tgt_len = prefix_positions.shape
    device = prefix_positions.device
    extent = extent or Extent.of(chain_lengths)
    longest = extent.longest
    slot = torch.arange(tgt_len, device=device)
    element = torch.arange(1, longest + 1, device=device)
    # (batch, tgt_len, longest): anchor-major, so that a chain's elements lie side by side
    exists = element <= chain_lengths.unsqueeze(-1)
    grid = (bsz, tgt_len, longest)
    anchors = slot.view(1, -1, 1).expand(grid).reshape(bsz, -1)
    elements = (element * exists).reshape(bsz, -1)
    if not full:
        # the existing ones of each row in order, filled up with others
        keep = torch.argsort(exists.reshape(bsz, -1), dim=1, descending=True, stable=True)[:, : extent.rows]
        anchors, elements = anchors.gather(1, keep), elements.gather(1, keep)
    positions = prefix_positions.gather(1, anchors) + elements
    return Streams(
        positions=torch.cat([prefix_positions, positions], dim=1),
        visible=torch.cat([(slot + 1).expand(bsz, -1), anchors + 1], dim=1),
        prefix_positions=prefix_positions,
        prefix_pad=prefix_pad,
        chain=anchors,
        element=elements,
        target_slot=(anchors + elements - 1).clamp(0, max(tgt_len - 1, 0)),
        chains=tgt_len if full else extent.chains,
        longest=longest,
    )


def whole_chains(positions: Tensor, element: Tensor, after_start: bool = False) -> tuple[Streams, Tensor]:
    """Rows of pure NAR: one chain for every whole output, a masked span of pretraining or the one of a sentence.

    Args:
        positions: of the targets, ``(batch, tgt_len)``.
        element: place of every target in its output, 1, 2, …, and 0 at padding, same shape.
        after_start: the chain of an output sees the token before it (a sentence's y_0); else no real token at all, as
            in the paper (section 3.3).

    Returns:
        Streams whose prefix is those tokens, or nothing; and the slots of the targets that they stand before, ``(batch,
        prefix_len)``, where a sentence with fewer outputs has some other slot.
    """
    starts = element == 1
    chain = (starts.cumsum(1) - 1).clamp(min=0)
    longest, outputs = torch.stack([element.max(), chain.max() + 1]).tolist() if element.numel() else (0, 1)
    first_slots, visible = positions[:, :0], torch.zeros_like(element)
    if after_start:
        first_slots = torch.argsort(starts, dim=1, descending=True, stable=True)[:, :outputs]
        number = torch.arange(first_slots.size(1), device=element.device)
        sees = torch.cat([number.expand_as(first_slots), chain], dim=1)
        visible = sees.unsqueeze(-1) == number
    prefix_positions = positions.gather(1, first_slots) - 1
    streams = Streams(
        positions=torch.cat([prefix_positions, positions], dim=1),
        visible=visible,
        prefix_positions=prefix_positions,
        chain=chain,
        element=element,
        target_slot=torch.arange(element.size(1), device=element.device).expand_as(element),
        chains=outputs,
        longest=longest,
    )
    return streams, first_slots
