"""A soak of generation: many sentences in all modes through one model, watching memory and speed.

``python -m tests.reliability.soak FOLDER 50000`` does it with the checkpoint and dictionaries of a folder.
"""

import os
import random
import sys
import time
from dataclasses import dataclass

import numpy as np

from bang_plugin.decoding.options import DECODINGS
from bang_plugin.models.bang import BangModel

BATCH = 100


@dataclass
class Reading:
    """After so many sentences: the process's memory in bytes, and sentences per second since the last reading."""

    sentences: int
    memory: int
    speed: float


def memory() -> int:
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(hub, sentences: int, readings: int = 40) -> list[Reading]:
    """Generate that many, the modes taking turns, with lengths as they come."""
    draw, taken = random.Random(5), []
    started = time.perf_counter()
    for done in range(BATCH, sentences + 1, BATCH):
        texts = [" ".join(draw.choices("abcdefgh", k=draw.randrange(18))) for _ in range(BATCH)]
        mode = DECODINGS[done // BATCH % len(DECODINGS)]
        found = hub.generate(texts, decoding=mode, beam=2, max_len_b=12)
        if len(found) != BATCH:
            raise AssertionError(f"{len(found)} answers to {BATCH} sentences")
        if done * readings // sentences > len(taken):
            now = time.perf_counter()
            speed = (done - (taken[-1].sentences if taken else 0)) / (now - started)
            taken.append(Reading(done, memory(), speed))
            started = now
    return taken


def slope(taken: list[Reading]) -> float:
    """Bytes of memory that a sentence costs for good: the line through the second half, when caches are warm."""
    later = taken[len(taken) // 2 :]
    return float(np.polyfit([r.sentences for r in later], [r.memory for r in later], 1)[0])


def report(taken: list[Reading]) -> str:
    """One line of figures."""
    half = len(taken) // 2
    before, after = (np.mean([reading.speed for reading in part]) for part in (taken[:half], taken[half:]))
    return (
        f"{taken[-1].sentences} sentences: memory {taken[0].memory / 2**20:.1f} MiB at first, "
        f"{taken[-1].memory / 2**20:.1f} MiB at last, slope {slope(taken):.2f} bytes per sentence; "
        f"{before:.0f} sentences per second in the first half, {after:.0f} in the second"
    )


if __name__ == "__main__":
    print(report(soak(BangModel.from_pretrained(sys.argv[1]), int(sys.argv[2]))))
