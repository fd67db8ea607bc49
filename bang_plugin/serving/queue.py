"""The bounded queue: jobs wait while a batch is decoded, and those that ask for the same are decoded together."""

import asyncio
import math
import threading
import time
from typing import List

from .engine import Engine
from .jobs import Job, Refused


class Queue:
    """Jobs of the event loop, and the one thread that takes them in batches.

    While it is busy, jobs gather by themselves; when it is free a lone job begins at once. Only after a batch with
    company does a first job wait for others, until as many are there again or ``max_wait`` is over.

    Args:
        engine: decodes.
        places: jobs that may wait.
        max_tokens: of a batch's sources with their padding, times beams.
        max_wait: milliseconds for company.
    """

    def __init__(self, engine: Engine, places: int, max_tokens: int, max_wait: float):
        self.engine, self.places = engine, places
        self.max_tokens, self.max_wait = max_tokens, max_wait / 1000
        self.waiting: List[Job] = []
        self.draining = False
        self._expected = 1
        self._seconds_each = 0.05
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="decoding", daemon=True)

    def start(self) -> None:
        """Begin to decode."""
        self._thread.start()

    async def close(self) -> None:
        """Take nothing more, finish what waits, and end."""
        with self._changed:
            self.draining = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def put(self, jobs: List[Job]) -> None:
        """Take all jobs of a request, or none.

        Raises:
            Refused: if there are not enough places, now or ever.
        """
        if self.draining:
            raise Refused(503, "the server is shutting down", "shutting_down", headers={"Retry-After": "1"})
        if len(jobs) > self.places:
            raise Refused(422, f"prompt: {len(jobs)} texts are more than {self.places}", "too_many", "prompt")
        if len(self.waiting) + len(jobs) > self.places:
            seconds = math.ceil(min(max(len(self.waiting) * self._seconds_each, 1), 60))
            raise Refused(
                429, "the queue is full; try again later", "queue_full", headers={"Retry-After": str(seconds)}
            )
        with self._changed:
            self.waiting += jobs
            self._changed.notify()

    def give_up(self, jobs: List[Job]) -> None:
        """Nobody waits for these any more: their places are free at once."""
        with self._changed:
            for job in jobs:
                job.abandoned = True
                if job in self.waiting:
                    self.waiting.remove(job)

    def take(self) -> List[Job]:
        """The oldest job, and those of its kind that are nearest in length, as many as a batch holds."""
        oldest = self.waiting[0]
        alike = [job for job in self.waiting if job.key == oldest.key]
        alike.sort(key=lambda job: abs(job.length - oldest.length))  # stable: the oldest is first
        batch, longest = [oldest], oldest.length
        for job in alike[1:]:
            longest = max(longest, job.length)
            if longest * (len(batch) + 1) * oldest.plan.width > self.max_tokens:
                break
            batch.append(job)
        taken = set(map(id, batch))
        self.waiting = [job for job in self.waiting if id(job) not in taken]
        return batch

    # in the decoding thread

    def _run(self) -> None:
        while batch := self._next():
            began = time.monotonic()
            self.engine.run(batch)
            each = (time.monotonic() - began) / len(batch)
            self._seconds_each += 0.1 * (each - self._seconds_each)
            self._expected = len(batch)

    def _next(self) -> List[Job]:
        """Empty at the end."""
        with self._changed:
            while True:
                while not self.waiting:
                    if self.draining:
                        return []
                    self._changed.wait()
                self._gather()
                now = time.monotonic()
                self.give_up([job for job in self.waiting if not job.waited_for(now)])
                if self.waiting:
                    return self.take()

    def _gather(self) -> None:
        """Wait for company where there has been some."""
        until = self.waiting[0].arrived + self.max_wait
        while 0 < len(self.waiting) < self._expected and not self.draining:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)
