"""Who wants to know what is being written subscribes: to every decoder pass, and to every finished batch."""

from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Dict, Generic, List, Optional, Sequence, Type, TypeVar

import numpy as np
from torch import Tensor

from .hypothesis import Hypothesis
from .state import Notes


@dataclass(frozen=True)
class PassEvent:
    """One decoder pass, after its tokens were kept.

    Reading ``tokens`` or ``log_probabilities`` on the host waits for a GPU; the arrays are on the host already.

    Attributes:
        sample: fairseq's batch.
        dictionary: target dictionary.
        number: of the pass; a batch's first is 1. The shared loop skips one that proposes nothing.
        rows: place in the batch of each sentence that had not ended, ``(sentences,)``.
        tokens: proposals, ``(sentences, n)``.
        log_probabilities: theirs (nats), ``(sentences, n)``.
        proposed: how many of a row are proposals, ``(sentences,)``.
        kept: how many of them were kept, ``(sentences,)``.
        notes: what else may be shown of the pass, if an observer asks for ``alternatives``.
    """

    sample: Dict[str, Any]
    dictionary: Any
    number: int
    rows: np.ndarray
    tokens: Tensor
    log_probabilities: Tensor
    proposed: np.ndarray
    kept: np.ndarray
    notes: Optional[Notes] = None


@dataclass(frozen=True)
class BatchEvent:
    """A batch of which every sentence has ended.

    Attributes:
        sample: fairseq's batch.
        hypotheses: per sentence, the best one first.
        dictionary: target dictionary.
    """

    sample: Dict[str, Any]
    hypotheses: List[List[Hypothesis]]
    dictionary: Any

    @cached_property
    def ids(self) -> Optional[List[int]]:
        """Numbers of the sentences in the data; None if they have none. May wait for a GPU."""
        return self.sample["id"].tolist() if "id" in self.sample else None


class Observer:
    """Told of every pass and every batch; a subclass overrides what it wants to know.

    fairseq's search tells of its passes to those that have subscribed only, see ``agreement.py``.

    Attributes:
        alternatives: how many of the most probable tokens at each place it wants ``PassEvent.notes`` to hold.
        tokens: whether it wants to know what passes of a search have written. To find that out takes time, so that
            events of a search are empty where no observer does.
    """

    alternatives, tokens = 0, True

    def on_pass(self, event: PassEvent) -> None:
        """A decoder pass has proposed tokens, and some were kept."""

    def on_batch(self, event: BatchEvent) -> None:
        """A batch is finished; called before its hypotheses are returned."""


Watcher = TypeVar("Watcher", bound=Observer)
_SUBSCRIBED: List[Observer] = []


class subscribe(Generic[Watcher]):
    """Tell an observer of everything that is written in this process, until ``close()`` or the end of a ``with`` block.

    Where several threads write, it is told by each of them.

    Example::

        with subscribe(MyObserver()) as mine:
            hub.generate(texts, decoding="nar")
    """

    def __init__(self, observer: Watcher):
        self.observer = observer
        _SUBSCRIBED.append(observer)

    def close(self) -> None:
        """Tell it no more."""
        if self.observer in _SUBSCRIBED:
            _SUBSCRIBED.remove(self.observer)

    def __enter__(self) -> Watcher:
        return self.observer

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


def subscribed() -> List[Observer]:
    """Those that have subscribed."""
    return list(_SUBSCRIBED)


def audience(observers: Sequence[Observer]) -> List[Observer]:
    """A generator's own observers and those that have subscribed."""
    return [*observers, *_SUBSCRIBED]
