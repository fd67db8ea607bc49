"""Makes the batches of an epoch depend on the seed and the epoch alone, and their loading end with it."""

import copy
from typing import Any

import torch
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks import FairseqTask

from ..errors import BangError


class RepeatableBatches(FairseqTask):
    """Task mix-in: training that was resumed sees the batches that it would have seen.

    fairseq builds batches once, by a draw that depends on the epoch in which it is started, and keeps them for all
    epochs: after resuming in a later epoch some sentences come twice in it and others never.
    """

    def can_reuse_epoch_itr(self, dataset: FairseqDataset) -> bool:
        """No: each epoch has batches of its own."""
        return False

    def get_batch_iterator(
        self,
        dataset: FairseqDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        *args: Any,
        num_workers: int = 0,
        **options: Any,
    ) -> EpochBatchIterator:
        """fairseq's, with every sentence in it, and with processes that end when its last batch is loaded.

        Validation in the course of training takes one process, beside those that load the training data.

        Raises:
            BangError: if there is no batch.
        """
        name = next((split for split, loaded in self.datasets.items() if loaded is dataset), None)
        if name != self.cfg.train_subset and self.cfg.train_subset in self.datasets:
            num_workers = min(num_workers, 1)
        dataset = copy.copy(dataset)  # with an epoch of its own, for --valid-subset may name the training data
        shards, shard = options.get("num_shards", 1), options.get("shard_id", 0)

        def batched(sentences: int | None) -> EpochBatchIterator:
            return super(RepeatableBatches, self).get_batch_iterator(
                dataset, max_tokens, sentences, *args, num_workers=num_workers, **options
            )

        iterator = batched(max_sentences)
        sentences = sum(map(len, iterator.frozen_batches))
        if len(iterator.frozen_batches) < shards <= sentences:
            iterator = batched(sentences // shards)  # fairseq deals out whole batches: every shard shall have one
        if name is not None and not sentences:
            raise BangError(
                f"{name}: none of its {len(dataset)} sentences is short enough for the model and --max-tokens"
            )
        if shard >= len(iterator.frozen_batches) > 0 and not torch.distributed.is_initialized():
            raise BangError(
                f"{name}: {sentences} sentences are too few for {shards} shards; nothing is left for this one"
            )
        if options.get("grouped_shuffling"):  # which drops batches that fill no group
            rest = -len(iterator.frozen_batches) % shards
            iterator._frozen_batches = (*iterator.frozen_batches, *[[]] * rest)
        iterator.reuse_dataloader = iterator.persistent_workers = False
        return iterator
