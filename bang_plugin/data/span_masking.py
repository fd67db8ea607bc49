"""BANG's pretraining samples: masked spans that the decoder has to write (paper section 3.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from torch import Tensor

from ..errors import BangError


@dataclass(frozen=True)
class SpanMasking:
    """Which tokens are masked.

    In every ``block`` tokens, from the second token of a sample on, one contiguous span of ``int(ratio * block)``
    tokens at a random place.

    Attributes:
        block: tokens per span.
        ratio: share of a block that its span covers.
        mask: id of [MASK], which replaces ``mask_prob`` of the span's tokens in the encoder's input.
        random_prob: share replaced by a random type from ``first_random`` … ``vocab_size - 1``; the rest stays.
    """

    mask: int
    vocab_size: int
    first_random: int
    block: int = 64
    ratio: float = 0.15
    mask_prob: float = 0.8
    random_prob: float = 0.1

    def __post_init__(self) -> None:
        if self.block < 1:
            raise BangError(f"--mask-block must be at least 1 token, not {self.block}")
        if not 0 < self.ratio <= 1:
            raise BangError(f"--mask-ratio must lie between 0 and 1, not {self.ratio}")
        if min(self.mask_prob, self.random_prob) < 0 or self.mask_prob + self.random_prob > 1:
            raise BangError(
                f"--mask-token-prob {self.mask_prob} and --random-token-prob {self.random_prob} must be shares of 1"
            )

    def spans(self, length: int, random: np.random.Generator) -> list[tuple[int, int]]:
        """(start, end) of the spans in a sample of ``length`` tokens; a block too short for one has none."""
        spans = []
        for start in range(1, length, self.block):
            size = min(self.block, length - start)
            covered = int(self.ratio * size)
            if covered:
                first = start + int(random.integers(size - covered + 1))
                spans.append((first, first + covered))
        return spans

    def corrupt(self, tokens: Tensor, random: np.random.Generator) -> Tensor:
        """The encoder's view of a span's tokens ``(n,)``."""
        fate = torch.from_numpy(random.random(len(tokens)))
        noise = torch.from_numpy(random.integers(self.first_random, self.vocab_size, len(tokens)))
        replaced = torch.where(fate < self.mask_prob + self.random_prob, noise, tokens)
        return replaced.masked_fill(fate < self.mask_prob, self.mask)


class SpanMaskingDataset(FairseqDataset):
    """Turns blocks of text into (masked text, spans) pairs.

    What is masked depends on (seed, epoch, index) alone, so that it is the same for any number of
    data-loading workers and after resuming.

    Args:
        dataset: blocks of token ids.
        masking: what to mask.
        pad: id of padding.
        seed: of the draws.
    """

    def __init__(self, dataset: FairseqDataset, masking: SpanMasking, pad: int, seed: int):
        self.dataset, self.sizes = dataset, np.asarray(dataset.sizes)
        self.masking, self.pad, self.seed = masking, pad, seed
        self.epoch = 1

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Draw the spans of this epoch from now on."""
        self.epoch = epoch

    def num_tokens(self, index: int) -> int:
        """Tokens of a sample, by which fairseq fills batches."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Tokens of several samples."""
        return self.sizes[indices]

    def filter_indices_by_size(self, indices: np.ndarray, max_sizes: Any) -> tuple[np.ndarray, list[int]]:
        """None is too long: the task refuses blocks that the model has no positions for."""
        return indices, []

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One sample, as 1-dimensional tensors.

        Returns:
            ``source`` with masks; ``target``: the spans, one after the other; ``prev``: the token before each
            target; ``positions``: the table index of ``prev`` (its place in the text); ``remaining``: how many
            tokens of its span a target and those behind it are.
        """
        tokens = self.dataset[index].long()
        random = np.random.default_rng((self.seed, self.epoch, int(index)))
        spans = self.masking.spans(len(tokens), random)
        source = tokens.clone()
        for start, end in spans:
            source[start:end] = self.masking.corrupt(tokens[start:end], random)
        places = [torch.arange(start, end) for start, end in spans]
        place = torch.cat(places) if places else torch.zeros(0, dtype=torch.long)
        remaining = [torch.arange(len(p), 0, -1) for p in places]
        return {
            "id": index,
            "source": source,
            "target": tokens[place],
            "prev": tokens[place - 1],
            "positions": place + self.pad,  # token i stands at pad + 1 + i, the one before it at pad + i
            "remaining": torch.cat(remaining) if remaining else place,
        }

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """fairseq batch; ``net_input`` also holds ``positions``, the batch ``remaining``, ``(batch, tgt_len)`` each."""
        if not samples:
            return {}

        def merge(key: str, pad: int) -> Tensor:
            return data_utils.collate_tokens([s[key] for s in samples], pad)

        target = merge("target", self.pad)
        return {
            "id": torch.tensor([s["id"] for s in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(s["source"]) for s in samples),
            "net_input": {
                "src_tokens": merge("source", self.pad),
                "src_lengths": torch.tensor([len(s["source"]) for s in samples]),
                "prev_output_tokens": merge("prev", self.pad),
                "positions": merge("positions", self.pad),
            },
            "target": target,
            "remaining": merge("remaining", 0),
        }

    def ordered_indices(self) -> np.ndarray:
        """Shortest first, those of one length in random order."""
        return np.lexsort([np.random.permutation(len(self)), self.sizes])
