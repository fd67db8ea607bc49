"""Passes of fairseq's search, told to who has subscribed: what all hypotheses of a sentence agree on cannot change."""

from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from .observers import Observer, PassEvent
from .state import Notes

Found = Tuple[Tensor, Tensor, Tensor]


class AgreedTokens:
    """Stands in for the ``step`` of fairseq's search while a batch is written, and tells of each.

    With one beam that is the token just chosen. With several it is what has been added to the longest beginning that
    all live and finished hypotheses share, often nothing: the answer begins with it, whichever of them wins.

    Args:
        generator: ``BeamSearch``.
        sample: fairseq's batch.
        observers: to tell.
    """

    def __init__(self, generator: Any, sample: Dict[str, Any], observers: List[Observer]):
        self.generator, self.sample, self.observers = generator, sample, observers
        self.search_step = generator.search.step
        self.wanted = any(observer.tokens for observer in observers)
        size = len(sample["net_input"]["src_tokens"])
        ids = sample["id"].tolist() if "id" in sample else range(size)
        self.places = {number: place for place, number in enumerate(ids)}
        self.known = np.zeros(size, int)
        self.passes = 0

    def __call__(self, step: int, lprobs: Tensor, scores: Tensor, prefixes: Tensor, numbers: Tensor) -> Found:
        """fairseq's ``Search.step``; ``numbers`` are those of the sentences that go on."""
        found: Found = self.search_step(step, lprobs, scores, prefixes, numbers)
        if not self.wanted:
            self.passes = self.generator.passes_of(step)
            self._tell_nothing(self.passes, prefixes)
            return found
        rows = np.array([self.places[number] for number in numbers.tolist()])
        before, self.passes = self.passes, self.generator.passes_of(step)
        if lprobs.size(1) == 1 and self.generator.step_is_pass:
            so_far = scores[:, 0, step - 1 : step] if step else 0.0
            self._tell(
                self.passes,
                rows,
                found[1][:, :1],
                found[0][:, :1] - so_far,
                np.ones(len(rows), int),
                self._notes(lprobs),
            )
        elif self.passes == before:  # answered from memory: what it adds belongs to that pass, and is told with it
            self._tell_nothing(before, prefixes)
        else:
            self._tell_agreed(before, rows, prefixes[:, 1:].view(len(rows), lprobs.size(1), step), scores)
        return found

    def _notes(self, lprobs: Tensor) -> Optional[Notes]:
        """The most probable tokens, ``lprobs`` being ``(sentences, 1, vocab)``; None if nobody wants to see them."""
        alternatives = max(observer.alternatives for observer in self.observers)
        if not alternatives:
            return None
        likely, tokens = lprobs.topk(min(alternatives, lprobs.size(2)), dim=2)
        return Notes(tokens, likely)

    def _tell_agreed(self, number: int, rows: np.ndarray, live: Tensor, scores: Tensor) -> None:
        """``live``: hypotheses ``(sentences, beams, step)`` with their cumulative ``scores``."""
        if not number:  # nothing is written before the first pass
            return
        agreed = (live == live[:, :1]).all(1).long().cumprod(1).sum(1).cpu().numpy()
        for i, row in enumerate(rows):
            for hypothesis in self.generator.finished_of(row):
                tokens = hypothesis["tokens"][: agreed[i]]
                same = tokens == live[i, 0, : len(tokens)]
                agreed[i] = int(same.long().cumprod(0).sum())
        new = np.maximum(agreed - self.known[rows], 0)
        places = torch.from_numpy(self.known[rows]).unsqueeze(1) + torch.arange(int(new.max(initial=0)))
        places = places.clamp(max=live.size(2) - 1).to(live.device)
        steps = torch.cat([scores[:, 0, :1], scores[:, 0].diff(dim=1)], dim=1)
        self.known[rows] += new
        self._tell(number, rows, live[:, 0].gather(1, places), steps.gather(1, places), new)

    def _tell_nothing(self, number: int, prefixes: Tensor) -> None:
        nothing = np.zeros(0, int)
        self._tell(number, nothing, prefixes[:0], prefixes[:0].float(), nothing)

    def _tell(
        self,
        number: int,
        rows: np.ndarray,
        tokens: Tensor,
        scores: Tensor,
        counts: np.ndarray,
        notes: Optional[Notes] = None,
    ) -> None:
        event = PassEvent(self.sample, self.generator.tgt_dict, number, rows, tokens, scores, counts, counts, notes)
        for observer in self.observers:
            observer.on_pass(event)


class Told:
    """While it lasts, a search tells ``observers`` of its passes; without any it is left as it is."""

    def __init__(self, generator: Any, sample: Dict[str, Any], observers: List[Observer]):
        self.search = generator.search
        self.step: Optional[AgreedTokens] = AgreedTokens(generator, sample, observers) if observers else None

    def __enter__(self) -> None:
        if self.step:
            self.search.step = self.step

    def __exit__(self, *_: Any) -> None:
        if self.step:
            del self.search.step
