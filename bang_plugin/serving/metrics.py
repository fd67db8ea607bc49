"""What ``/metrics`` tells, in Prometheus' format."""

from typing import Callable, List

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .jobs import Answer, Job

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("bang_requests", "answers by path and status", ["path", "status"], registry=own)
        self.in_progress = Gauge("bang_requests_in_progress", "heads without an answer", ["path"], registry=own)
        self.request_seconds = Histogram(
            "bang_request_seconds",
            "from a request's head to its answer's end",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self.queue_seconds = Histogram("bang_queue_seconds", "of waiting", buckets=_SECONDS, registry=own)
        self.batch_seconds = Histogram("bang_batch_seconds", "of decoding", buckets=_SECONDS, registry=own)
        self.batch_sentences = Histogram(
            "bang_batch_sentences", "decoded together", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=own
        )
        self.batches = Counter("bang_batches", "by what became of them", ["end"], registry=own)
        by = ["decoding"]
        self.sentences = Counter("bang_sentences", "written or scored", by, registry=own)
        self.passes = Counter("bang_passes", "decoder passes that sentences took part in", by, registry=own)
        self.tokens = Counter("bang_tokens", "written, end symbols included", by, registry=own)
        self.proposed = Counter("bang_proposed_tokens", "drafts of passes", by, registry=own)
        self.kept = Counter(
            "bang_kept_tokens", "drafts that were kept: kept / proposed is acceptance", by, registry=own
        )

    def watch_queue(self, length: Callable[[], int]) -> None:
        """``bang_queue_length`` is what ``length`` says."""
        Gauge("bang_queue_length", "texts that wait", registry=self.registry).set_function(length)

    def batch(self, jobs: List[Job], answers: List[Answer], seconds: float) -> None:
        """A batch has been decoded; the best answer to each of its texts."""
        decoding = jobs[0].plan.decoding
        self.batches.labels("done").inc()
        self.batch_seconds.observe(seconds)
        self.batch_sentences.observe(len(jobs))
        self.sentences.labels(decoding).inc(len(answers))
        self.passes.labels(decoding).inc(sum(answer.passes for answer in answers))
        self.tokens.labels(decoding).inc(sum(len(answer.ids) for answer in answers))
        drafting = [answer for answer in answers if answer.proposed]
        self.proposed.labels(decoding).inc(sum(answer.proposed for answer in drafting))
        self.kept.labels(decoding).inc(sum(answer.kept for answer in drafting))

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)
