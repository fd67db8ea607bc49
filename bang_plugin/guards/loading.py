"""Batches without loss, loaded by processes that end with the epoch they were started for."""

import functools
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from fairseq.data.iterators import BackgroundConsumer, BufferedIterator, EpochBatchIterator

from ..errors import BangError

SECONDS_TO_END = 10


def complete(batch_by_size: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``batch_by_size``, which loses a last batch that is no multiple of ``--required-batch-size-multiple``.

    That batch is kept: every sentence is in exactly one batch.

    Raises:
        BangError: if a sentence does not fit into a batch by itself, or the multiple is none.
    """

    @functools.wraps(batch_by_size)
    def guarded(indices: Any, *args: Any, fixed_shapes: Any = None, **kwargs: Any) -> Any:
        multiple = kwargs.get("required_batch_size_multiple", 1)
        if multiple < 1:  # fairseq divides by it, in C, and the process is killed
            raise BangError(f"--required-batch-size-multiple {multiple}: must be at least 1")
        indices = indices if isinstance(indices, np.ndarray) else np.fromiter(indices, dtype=np.int64)
        if not len(indices):
            return []
        try:
            batches = batch_by_size(indices, *args, fixed_shapes=fixed_shapes, **kwargs)
        except AssertionError as error:
            raise BangError(f"{error}: raise --max-tokens (in validation --max-tokens-valid)") from error
        batched = sum(map(len, batches))
        if fixed_shapes is None and batched < len(indices):
            batches = [*batches, indices[batched:]]  # batches follow the order of the indices
        return batches

    return guarded


def released(get_iterator: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``EpochBatchIterator._get_iterator_for_epoch``, without the reference back to it.

    The cycle would keep an epoch's processes until Python collects garbage, which happens to tear down their queues
    first, so that each then has to be waited for (5 seconds) and killed.
    """

    @functools.wraps(get_iterator)
    def guarded(self: EpochBatchIterator, *args: Any, **kwargs: Any) -> Any:
        iterator = get_iterator(self, *args, **kwargs)
        if not self.reuse_dataloader:
            self.epoch_batch_sampler.ordered_batches = None  # it has made its batches
        return iterator

    return guarded


def dismissed(create_consumer: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``BufferedIterator._create_consumer``: the thread ends when nobody will ask for a batch any more."""

    @functools.wraps(create_consumer)
    def guarded(self: BufferedIterator) -> None:
        create_consumer(self)
        weakref.finalize(self, _dismiss, self._consumer).atexit = False

    return guarded


def _dismiss(consumer: BackgroundConsumer) -> None:
    """End a thread, which may wait for room in its queue, and with it its processes."""
    queue = consumer._queue
    consumer._max_len, queue.maxsize = 0, math.inf
    if queue.mutex.acquire(timeout=1):  # garbage may be collected while this very thread holds it; then none waits
        queue.queue.clear()
        queue.not_full.notify_all()
        queue.mutex.release()
    if threading.current_thread() is not consumer:
        consumer.join(SECONDS_TO_END)
