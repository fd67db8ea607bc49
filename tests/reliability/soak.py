"""A soak of generation: many sentences in all modes through one model, watching memory and speed.

``BANG_SOAK=50000 python -m pytest tests/reliability/test_python_interface.py -m slow -k soak``
"""

import gc
import logging
import os
import random
import time
import warnings
from dataclasses import dataclass

import numpy as np

from bang_plugin.decoding import registry

from .processes import CONTEXT

BATCH, CYCLE = 100, 20


@dataclass
class Reading:
    """After so many sentences: the process's memory in bytes, the number of Python's objects, and sentences per second
    since the last reading."""

    sentences: int
    memory: int
    objects: int
    speed: float


def memory() -> int:
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(hub, sentences: int, readings: int = 40) -> list[Reading]:
    """Generate that many, the modes taking turns, with lengths as they come, and silently: pytest keeps what is
    logged and warned of. The sentences come again after ``CYCLE`` batches: torch's kernels keep something for every new
    shape, up to a limit that new shapes would reach only after many more sentences."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    taken: list[Reading] = []
    started, modes = time.perf_counter(), registry.names()
    for done in range(BATCH, sentences + 1, BATCH):
        if done % (CYCLE * BATCH) == BATCH:
            draw = random.Random(5)
        texts = [" ".join(draw.choices("abcdefgh", k=draw.randrange(18))) for _ in range(BATCH)]
        mode = modes[done // BATCH % len(modes)]
        answers = len(hub.generate(texts, decoding=mode, beam=2, max_len_b=12))
        if answers != BATCH:
            raise AssertionError(f"{answers} answers to {BATCH} sentences")
        if done * readings // sentences > len(taken):
            speed = (done - (taken[-1].sentences if taken else 0)) / (time.perf_counter() - started)
            gc.collect()
            taken.append(Reading(done, memory(), len(gc.get_objects()), speed))
            started = time.perf_counter()
    logging.disable(logging.NOTSET)
    return taken


def soak_alone(load, sentences: int) -> list[Reading]:
    """The same in a new process, whose memory holds nothing of other tests; ``load`` gives the hub."""
    with CONTEXT.Pool(1) as pool:
        return pool.apply(_load_and_soak, (load, sentences))


def _load_and_soak(load, sentences: int) -> list[Reading]:
    return soak(load(), sentences)


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
        f"{taken[-1].memory / 2**20:.1f} MiB at last, slope {slope(taken):.1f} bytes per sentence, "
        f"{taken[-1].objects - taken[half].objects} more Python objects in the second half; "
        f"{before:.0f} sentences per second in the first half, {after:.0f} in the second"
    )
