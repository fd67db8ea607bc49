"""The bounded queue: jobs wait while a batch is decoded, and those that ask for the same are decoded together."""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import List, Optional

from .engine import Engine
from .jobs import Job, Refused


class Queue:
    """Hands batches to the one thread that decodes.

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
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "decoding")
        self._task: Optional[asyncio.Task[None]] = None

    def start(self) -> None:
        """Begin to decode, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Take nothing more, finish what waits, and end."""
        self.draining = True
        self._changed.set()
        if self._task:
            await self._task
        self._thread.shutdown()

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
        self.waiting += jobs
        self._changed.set()

    def give_up(self, jobs: List[Job]) -> None:
        """Nobody waits for these any more: their places are free at once."""
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

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self.waiting:
                if self.draining:
                    return
                self._changed.clear()
                await self._changed.wait()
            await self._gather()
            now = time.monotonic()
            self.give_up([job for job in self.waiting if not job.waited_for(now)])
            if not self.waiting:
                continue
            batch = self.take()
            began = time.monotonic()
            await loop.run_in_executor(self._thread, self.engine.run, batch)
            each = (time.monotonic() - began) / len(batch)
            self._seconds_each += 0.1 * (each - self._seconds_each)
            self._expected = len(batch)

    async def _gather(self) -> None:
        """Wait for company where there has been some."""
        until = self.waiting[0].arrived + self.max_wait
        while len(self.waiting) < self._expected and not self.draining:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return
            if not self.waiting:
                return
