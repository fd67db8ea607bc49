"""Makes the batches of an epoch depend on the seed and the epoch alone."""


class RepeatableBatches:
    """Task mix-in: training that was resumed sees the batches that it would have seen.

    fairseq builds batches once, by a draw that depends on the epoch in which it is started, and keeps them for all
    epochs: after resuming in a later epoch some sentences come twice in it and others never.
    """

    def can_reuse_epoch_itr(self, dataset) -> bool:
        return False
