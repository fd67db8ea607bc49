"""A BANG that reads long sources in chunks: ``--user-dir examples/long_documents/bang_chunked --arch bang_chunked``.

The encoder's time and memory grow with the source's length instead of its square, and its position table need be no
longer than a chunk, so that a pretrained one fits. Chunks do not see each other; cross-attention sees them all.
"""

from dataclasses import dataclass, field
from typing import Dict, List, Optional

import torch.nn as nn
import torch.nn.functional as F
from fairseq import utils
from fairseq.models import register_model
from omegaconf import OmegaConf
from torch import Tensor

import bang_plugin  # noqa: F401  (registers the rest)
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.models.encoder import BangEncoder


@dataclass
class BangChunkedConfig(BangModelConfig):
    source_chunk: int = field(default=512, metadata={"help": "tokens that the encoder reads at a time"})


class ChunkedEncoder(BangEncoder):
    """An encoder that reads every source in pieces of ``--source-chunk`` tokens, counted from its beginning."""

    def __init__(self, cfg, dictionary, embed_tokens: nn.Embedding):
        chunk, longest = cfg.source_chunk, cfg.max_source_positions
        table = {"max_source_positions": min(chunk, longest)}
        super().__init__(OmegaConf.merge(cfg, table), dictionary, embed_tokens)
        self.chunk, self.longest = chunk, longest

    def max_positions(self) -> int:
        """Tokens of a source; the position table is a chunk long."""
        return self.longest

    def forward(self, src_tokens: Tensor, src_lengths: Optional[Tensor] = None) -> Dict[str, List[Tensor]]:
        """
        Args:
            src_tokens: ``(batch, src_len)``, padded on either side.
            src_lengths: not needed.

        Returns:
            ``encoder_out`` ``(chunks * chunk, batch, embed_dim)`` and its padding mask, padded on the right.
        """
        tokens = utils.convert_padding_direction(src_tokens, self.padding_idx, left_to_right=True)
        bsz, length = tokens.shape
        chunk = min(self.chunk, length)
        tokens = F.pad(tokens, (0, -length % chunk), value=self.padding_idx)
        pieces = tokens.view(-1, chunk)  # (batch * chunks, chunk)
        filled = pieces.ne(self.padding_idx).any(1)
        out = super().forward(pieces[filled])["encoder_out"][0].transpose(0, 1)  # (filled, chunk, embed_dim)
        memory = out.new_zeros(len(pieces), chunk, out.size(-1))
        memory[filled] = out
        return {
            "encoder_out": [memory.view(bsz, tokens.size(1), -1).transpose(0, 1)],
            "encoder_padding_mask": [tokens.eq(self.padding_idx)],
            # what fairseq's search expects to be able to reorder
            **{name: [] for name in ("encoder_embedding", "encoder_states", "src_tokens", "src_lengths")},
        }


@register_model("bang_chunked", dataclass=BangChunkedConfig)
class BangChunked(BangModel):
    """BANG with ``ChunkedEncoder``; all else is BANG's."""

    config, encoder_class = BangChunkedConfig, ChunkedEncoder
