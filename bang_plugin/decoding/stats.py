"""Observers that fairseq's commands need: totals for the log, and traces, printed or as JSON lines."""

import fcntl
import gc
import json
import logging
import os
import weakref
from typing import Any, Dict, List, Optional, TextIO

import torch
from fairseq.distributed import utils as distributed_utils

from ..errors import BangError
from .hypothesis import Hypothesis, Totals
from .observers import BatchEvent, Observer, PassEvent

logger = logging.getLogger(__name__)


def standard_observers(decoding: str, print_trace: bool = False, trace_file: Optional[str] = None) -> List[Observer]:
    """What observes a generator: its totals always, its passes on request.

    Raises:
        BangError: if the file cannot be written, or another process or generator is writing it.
    """
    observers: List[Observer] = [DecodingStats(decoding)]
    if print_trace or trace_file:
        observers.append(TraceRecorder())  # first, since the others show what it records
    if print_trace:
        observers.append(TracePrinter())
    if trace_file:
        observers.append(TraceFile(trace_file))
    return observers


class DecodingStats(Observer):
    """Totals over all sentences, logged when the generator is done.

    fairseq never tells a generator so: fairseq-generate and the Python interface drop theirs, fairseq-interactive reads
    until its input ends, and validation keeps its generators until the process exits. A finaliser is the one thing that
    happens in all four. It does nothing but write one line.

    Args:
        decoding: name for the log.
    """

    def __init__(self, decoding: str):
        self.totals = Totals()
        weakref.finalize(self, _log, decoding, self.totals)

    def on_batch(self, event: BatchEvent) -> None:
        """See ``Observer``."""
        self.totals.add(event.hypotheses)


def _log(decoding: str, totals: Totals) -> None:
    if totals.sentences:
        logger.info(f"--decoding {decoding}: {totals.summary()}")


def trace_records(event: PassEvent) -> Dict[int, Dict[str, Any]]:
    """By place in the batch: the pass's number, proposed tokens as text, their probabilities, how many were kept."""
    n = event.tokens.size(1)
    shown = torch.cat([event.tokens.double(), event.log_probabilities.double().exp()], dim=1).tolist()
    return {
        row: {
            "pass": event.number,
            "tokens": [event.dictionary[int(token)] for token in values[:proposed]],
            "probabilities": values[n:][:proposed],
            "kept": kept,
        }
        for row, values, proposed, kept in zip(event.rows.tolist(), shown, event.proposed, event.kept.tolist())
    }


class TraceRecorder(Observer):
    """Gives each hypothesis its ``trace``, a list of ``trace_records``. For one generator at a time."""

    def __init__(self) -> None:
        self._sample: Optional[Dict[str, Any]] = None
        self._traces: Dict[int, List[Dict[str, Any]]] = {}

    def on_pass(self, event: PassEvent) -> None:
        """See ``Observer``."""
        if event.sample is not self._sample:
            self._sample, self._traces = event.sample, {}
        for row, record in trace_records(event).items():
            self._traces.setdefault(row, []).append(record)

    def on_batch(self, event: BatchEvent) -> None:
        """See ``Observer``."""
        if event.sample is self._sample:
            for row, trace in self._traces.items():
                event.hypotheses[row][0].trace = trace
        self._sample, self._traces = None, {}


class _TraceWriter(Observer):
    """Shows every sentence's trace under its number, or counts where sentences have none."""

    def __init__(self) -> None:
        self._seen = 0

    def on_batch(self, event: BatchEvent) -> None:
        """See ``Observer``."""
        numbers = event.ids or range(self._seen, self._seen + len(event.hypotheses))
        self._seen += len(event.hypotheses)
        for number, (hypothesis, *_) in zip(numbers, event.hypotheses):
            self.write(number, hypothesis)

    def write(self, number: int, hypothesis: Hypothesis) -> None:
        """Show the trace of one sentence."""
        raise NotImplementedError


class TracePrinter(_TraceWriter):
    """``--print-trace``: to standard output."""

    def write(self, number: int, hypothesis: Hypothesis) -> None:
        """Show the trace of one sentence."""
        print("\n".join(format_trace(number, hypothesis.trace)))


class TraceFile(_TraceWriter):
    """``--trace-file``: JSON lines.

    In distributed training each process has a file of its own, ``trace.0.jsonl``, ``trace.1.jsonl``, … for
    ``trace.jsonl``.

    Raises:
        BangError: if it cannot be written, or another process or generator is writing it.
    """

    def __init__(self, path: str):
        super().__init__()
        self._file = _open(path)
        weakref.finalize(self, self._file.close)

    def write(self, number: int, hypothesis: Hypothesis) -> None:
        """Show the trace of one sentence."""
        record = {"id": number, "score": float(hypothesis.score), "passes": hypothesis.passes}
        print(json.dumps({**record, "trace": hypothesis.trace}, ensure_ascii=False), file=self._file)


def format_trace(number: int, trace: List[Dict[str, Any]]) -> List[str]:
    """Lines ``R-number  pass  kept/proposed  tokens(probability)``; tokens behind the bar were not kept."""
    lines = []
    for step in trace:
        cells = [f"{t}({p:.2f})" for t, p in zip(step["tokens"], step["probabilities"])]
        kept, dropped = cells[: step["kept"]], cells[step["kept"] :]
        shown = " ".join(kept + ["|"] + dropped if dropped else kept)
        lines.append(f"R-{number}\tpass {step['pass']}\t{step['kept']}/{len(cells)}\t{shown}")
    return lines


def _open(path: str) -> TextIO:
    if distributed_utils.get_global_world_size() > 1:
        stem, suffix = os.path.splitext(path)
        path = f"{stem}.{distributed_utils.get_global_rank()}{suffix}"
    try:
        # line by line: processes that fairseq-train starts end without closing their files
        file = open(path, "a", encoding="utf-8", buffering=1)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                gc.collect()  # a generator that nobody holds any more, but that is not collected yet, has it open
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BangError(
                f"--trace-file {path}: another process or decoding is writing it; give each its own"
            ) from error
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
    except OSError as error:
        raise BangError(f"--trace-file {path}: {error.strerror}") from error
    return file
