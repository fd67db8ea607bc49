"""Timing contestants in turn, so that a machine that slows down slows all of them."""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from tqdm import tqdm

from scripts.measure import spread

from .machine import synchronize


def add_round_arguments(parser) -> None:
    """``--rounds`` and ``--seconds`` of ``interleave``."""
    parser.add_argument("--rounds", type=int, default=7, help="timed runs of every contestant")
    parser.add_argument("--seconds", type=float, default=60, help="per setting, after which no round begins")


@dataclass
class Timing:
    """Seconds that a contestant took, run by run; ``first``: the run that warmed up, which counts for nothing."""

    seconds: list = field(default_factory=list)
    first: float = 0.0

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def spread(self) -> float:
        return spread(self.seconds)


def interleave(
    contestants: dict[str, Callable],
    rounds: int,
    device: str = "cpu",
    label: str = "",
    seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Run every contestant once per round, after one round that warms up.

    Args:
        contestants: what to run under each name.
        rounds: timed runs of each.
        device: waited for before the clock is read.
        label: of the progress bar.
        seconds: no further round begins after this time (three are run in any case).
        clock: what is timed; ``time.process_time`` counts the processor's work for this process alone.
    """
    timings = {name: Timing() for name in contestants}
    names = list(contestants)
    begin = time.perf_counter()
    for number in tqdm(range(rounds + 1), desc=label, unit="round", leave=False):
        if number > 3 and time.perf_counter() - begin > seconds:
            break
        # each begins another round, so that nobody always runs behind the same neighbour
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            synchronize(device)
            start = clock()
            contestants[name]()
            synchronize(device)
            elapsed = clock() - start
            if number:
                timings[name].seconds.append(elapsed)
            else:
                timings[name].first = elapsed
    return timings


def in_own_process(function: Callable, *arguments):
    """``function(*arguments)`` in a fresh process, whose memory nobody else has touched."""
    context = multiprocessing.get_context("forkserver")
    # the server imports once for all of its children, and does nothing else
    context.set_forkserver_preload(["scripts.bench.memory"])
    with context.Pool(1) as pool:
        return pool.apply(function, arguments)
