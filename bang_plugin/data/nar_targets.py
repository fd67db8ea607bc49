"""Pairs whose NAR updates have targets of their own, such as those that a teacher wrote (sequence distillation)."""

from typing import Any, Optional

import numpy as np
from fairseq.data import BaseWrapperDataset, LanguagePairDataset
from fairseq.data.data_utils import collate_tokens

from ..errors import BangError


class NarTargets(BaseWrapperDataset):
    """Adds ``nar_target`` and ``nar_prev_output_tokens``, ``(batch, len)``, to the batches of a dataset.

    Args:
        pairs: sentences with the targets that all updates but NAR's have; a sentence then counts as long as the longer
            of its targets.
        nar: the same sentences in the same order, with NAR's targets.
        name: of the latter, for messages.

    Raises:
        BangError: if the sentences are not the same, as far as their number and lengths tell.
    """

    def __init__(self, pairs: LanguagePairDataset, nar: LanguagePairDataset, name: str):
        if not np.array_equal(pairs.src_sizes, nar.src_sizes):
            raise BangError(
                f"--nar-data {name}: its {len(nar)} sources are not the {len(pairs)} of the training data in their "
                "order; binarise the same sources with the other targets"
            )
        super().__init__(pairs)
        pairs.tgt_sizes = np.maximum(pairs.tgt_sizes, nar.tgt_sizes)
        self.nar = nar

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], "nar_target": self.nar.tgt[index]}

    def collater(self, samples: list[dict[str, Any]], pad_to_length: Optional[dict[str, int]] = None) -> dict[str, Any]:
        """fairseq's batch, whose order of sentences the added tensors have too."""
        batch: dict[str, Any] = self.dataset.collater(samples, pad_to_length)
        if batch:
            by_id = {sample["id"]: sample["nar_target"] for sample in samples}
            targets = [by_id[i] for i in batch["id"].tolist()]
            pad, eos, left = self.nar.tgt_dict.pad(), self.nar.eos, self.nar.left_pad_target
            batch["nar_target"] = collate_tokens(targets, pad, eos, left)
            batch["nar_prev_output_tokens"] = collate_tokens(targets, pad, eos, left, move_eos_to_beginning=True)
        return batch
