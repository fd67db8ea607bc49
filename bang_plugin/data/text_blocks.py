"""Samples of plain text: blocks of tokens, none longer than asked for."""

import numpy as np
import torch
from fairseq.data import FairseqDataset, TokenBlockDataset

from ..errors import BangError


class TextBlocks(FairseqDataset):
    """fairseq's blocks of text; one that is too long is cut into parts of nearly the same length.

    Only a single line can be too long, where blocks are made of whole lines (``complete``, ``complete_doc``).

    Args:
        lines: token ids of each line.
        longest: most tokens of a sample.
        pad: id of padding.
        eos: id of the end symbol.
        break_mode: ``none``, ``complete`` or ``complete_doc``, see fairseq's ``TokenBlockDataset``.

    Raises:
        BangError: if there is no text.
    """

    def __init__(self, lines: FairseqDataset, longest: int, pad: int, eos: int, break_mode: str):
        if not np.any(lines.sizes > 1):  # an end symbol alone is an empty line
            raise BangError("no text: every line is empty")
        self.blocks = TokenBlockDataset(lines, lines.sizes, longest, pad, eos, break_mode)
        bounds = self.blocks.slice_indices.astype(np.int64)
        whole = bounds[:, 1] - bounds[:, 0]  # its own sizes overflow at 65,536 tokens
        parts = -(-whole // longest)
        self.block = np.repeat(np.arange(len(whole)), parts)
        part = np.arange(len(self.block)) - np.repeat(np.cumsum(parts) - parts, parts)
        whole, parts = whole[self.block], parts[self.block]
        self.start, self.end = whole * part // parts, whole * (part + 1) // parts
        self.sizes = self.end - self.start
        self.cut = len(np.unique(self.block[parts > 1]))  # blocks that were too long

    def __len__(self) -> int:
        return len(self.block)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.blocks[self.block[index]][self.start[index] : self.end[index]]
