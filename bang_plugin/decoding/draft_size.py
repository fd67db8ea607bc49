"""How far the look-ahead search reads ahead: as asked for, or as has paid where it runs."""

import time
from typing import Dict, List, Optional

from .tree import Growth

# share of the time that may be lost by trying what is not the fastest as far as is known
_TRIALS = 0.02
# weight of what was known of a size when it is used again: the last fifty batches count
_MEMORY = 0.98


class _Size:
    """Nothing or a tree, and the time of a step of the search with it."""

    def __init__(self, growth: Optional[Growth]):
        self.growth = growth
        self.batches, self.seconds, self.steps = 0, 0.0, 0.0

    @property
    def rate(self) -> float:
        """Seconds of a step."""
        return self.seconds / self.steps

    def note(self, seconds: float, steps: int) -> None:
        """What a batch took. The first one counts until there is another: libraries prepare themselves in it."""
        memory = _MEMORY if self.batches > 1 else 0.0
        self.seconds = memory * self.seconds + seconds
        self.steps = memory * self.steps + steps
        self.batches += 1


class _Race:
    """The sizes and what is known of them for batches of about as many sentences."""

    def __init__(self, trees: List[Growth]):
        self.sizes = [_Size(growth) for growth in (None, *trees)]
        self.spent = self.lost = 0.0

    def best(self) -> _Size:
        """The fastest; before anything is known, not to read ahead."""
        return min((size for size in self.sizes if size.batches), key=lambda size: size.rate, default=self.sizes[0])

    def choose(self, sentences: int) -> _Size:
        """The fastest, or one that has not been tried for longest if that costs little beside what has been spent."""
        best = self.best()
        if best.batches < 2:
            return best
        other = min((size for size in self.sizes if size is not best), key=lambda size: size.batches)
        # at first a tree is expected to cost what a large one did on a CPU, more for each row
        more = other.rate / best.rate - 1 if other.batches else (0.5 + sentences / 8) * self.sizes.index(other)
        expected = more * self.spent / sum(size.batches for size in self.sizes)
        return other if self.lost + expected <= _TRIALS * self.spent else best

    def note(self, size: _Size, seconds: float, steps: int) -> None:
        """What a batch took."""
        best = self.best()
        if size is not best:
            self.lost = max(self.lost + seconds - steps * best.rate, 0.0)
        self.spent += seconds
        size.note(seconds, steps)


class DraftSize:
    """Chooses the size of the trees of a batch.

    Args:
        beams: of the search.
        width: most prefixes of one length that a pass reads ahead; None: whatever has been fastest, which may be not
            to read ahead.
        depth: most tokens of a branch.
        longest: most tokens of a prefix.
    """

    def __init__(self, beams: int, width: Optional[int], depth: int, longest: int):
        self.fixed = Growth(width, depth, longest, beams) if width else None
        self.trees = [Growth(beams, depth, longest, 0), Growth(2 * beams, depth, longest, beams)]
        self.races: Dict[int, _Race] = {}

    def start(self, sentences: int, cuda: bool) -> Optional[Growth]:
        """For a batch of so many, whose time runs from here; None: do not read ahead."""
        if self.fixed:
            return self.fixed
        self.race = self.races.setdefault(sentences.bit_length(), _Race(self.trees))
        self.size = self.race.choose(sentences)
        # what other processes take changes nothing on a CPU; a search waits for a GPU in each step anyway
        self.clock = time.perf_counter if cuda else time.thread_time
        self.started = self.clock()
        return self.size.growth

    def stop(self, steps: int) -> None:
        """The batch has been written, in so many steps of the search."""
        if not self.fixed and steps:
            self.race.note(self.size, self.clock() - self.started, steps)
