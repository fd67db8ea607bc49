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
        # first, since the others show what it records; for the token itself and three others
        observers.append(TraceRecorder(4 if trace_file else 0))
    if print_trace:
        observers.append(TracePrinter())
    if trace_file:
        observers.append(TraceFile(trace_file, decoding))
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


class TraceRecorder(Observer):
    """Gives each hypothesis its ``trace``. For one generator at a time.

    A trace is for every pass what ``trace_records`` says. A search tells of no passes: if it has left no trace itself,
    as one that looks ahead does (``readings.trace_of``), it is its best hypothesis, of which every pass wrote a token.

    Args:
        alternatives: how many of the most probable tokens a record knows at each place.
    """

    def __init__(self, alternatives: int = 0) -> None:
        self.alternatives = alternatives
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
        else:
            for best in (found[0] for found in event.hypotheses if found and not found[0].trace):
                best.trace = _search_record(event.dictionary, best)
        self._sample, self._traces = None, {}


def trace_records(event: PassEvent) -> Dict[int, Dict[str, Any]]:
    """What a trace says of a pass, by the sentences' places in the batch.

    That is the ``pass``'s number, the proposed ``tokens`` as text, their ``probabilities``, and how many were ``kept``.
    Where something was noted, also the ``draft`` that the pass verified, if it did, and for each token up to the end
    symbol its ``alternatives``: the most probable other tokens with their probabilities. Waits for a GPU once.
    """
    n, notes, words = event.tokens.size(1), event.notes, event.dictionary
    numbers = [event.tokens.double(), event.log_probabilities.double().exp()]
    if notes:
        numbers += [notes.tokens.flatten(1).double(), notes.log_probabilities.flatten(1).double().exp()]
    if notes and notes.drafted is not None:
        numbers.append(notes.drafted.double())
    shown, records = torch.cat(numbers, dim=1).cpu(), {}
    for row, values, proposed, kept in zip(event.rows.tolist(), shown, event.proposed.tolist(), event.kept.tolist()):
        tokens = [int(token) for token in values[:proposed]]
        record = {
            "pass": event.number,
            "tokens": [words[token] for token in tokens],
            "probabilities": values[n : n + proposed].tolist(),
            "kept": kept,
        }
        if notes:
            size = notes.tokens[0].numel()
            others, chances = values[2 * n : 2 * n + 2 * size].view(2, n, -1)
            if notes.drafted is not None:
                record["draft"] = [words[int(token)] for token in values[2 * n + 2 * size :] if token >= 0]
            known = kept if kept and tokens[kept - 1] == words.eos() else proposed
            record["alternatives"] = [
                [[words[int(other)], round(p, 6)] for other, p in zip(*pairs) if other != token and p > 0]
                for token, *pairs in zip(tokens[:known], others.tolist(), chances.tolist())
            ]
        records[row] = record
    return records


def _search_record(dictionary: Any, best: Hypothesis) -> List[Dict[str, Any]]:
    chances = best.positional_scores.exp().tolist()
    return [
        {"pass": number, "tokens": [dictionary[token]], "probabilities": [p], "kept": 1}
        for number, (token, p) in enumerate(zip(best.tokens.tolist(), chances), start=1)
    ]


class _TraceWriter(Observer):
    """Shows every sentence's trace under its number, or counts where sentences have none."""

    def __init__(self) -> None:
        self._seen = 0

    def on_batch(self, event: BatchEvent) -> None:
        """See ``Observer``."""
        numbers = event.ids or range(self._seen, self._seen + len(event.hypotheses))
        self._seen += len(event.hypotheses)
        for row, (number, found) in enumerate(zip(numbers, event.hypotheses)):
            if found:  # a search may end without any
                self.write(number, found[0], event, row)

    def write(self, number: int, hypothesis: Hypothesis, event: BatchEvent, row: int) -> None:
        """Show the trace of one sentence, which has this place in the batch."""
        raise NotImplementedError


class TracePrinter(_TraceWriter):
    """``--print-trace``: to standard output."""

    def write(self, number: int, hypothesis: Hypothesis, event: BatchEvent, row: int) -> None:
        """Show the trace of one sentence."""
        print("\n".join(format_trace(number, hypothesis.trace)))


class TraceFile(_TraceWriter):
    """``--trace-file``: JSON lines.

    In distributed training each process has a file of its own, ``trace.0.jsonl``, ``trace.1.jsonl``, … for
    ``trace.jsonl``.

    Args:
        path: file.
        decoding: name of what writes.

    Raises:
        BangError: if it cannot be written, or another process or generator is writing it.
    """

    def __init__(self, path: str, decoding: str):
        super().__init__()
        self._file, self._decoding = _open(path), decoding
        weakref.finalize(self, self._file.close)

    def write(self, number: int, hypothesis: Hypothesis, event: BatchEvent, row: int) -> None:
        """Show the trace of one sentence, and its source in the words of the one dictionary for both sides."""
        words = event.dictionary
        source = event.sample["net_input"]["src_tokens"][row].tolist()
        record = {
            "id": number,
            "decoding": self._decoding,
            "source": [words[token] for token in source if token not in (words.pad(), words.eos())],
            "score": float(hypothesis.score),
            "passes": hypothesis.passes,
            "trace": hypothesis.trace,
        }
        print(json.dumps(record, ensure_ascii=False), file=self._file)


def format_trace(number: int, trace: List[Dict[str, Any]]) -> List[str]:
    """Lines ``R-number  pass  kept/proposed  tokens(probability)``; tokens behind the bar were not kept.

    Of look-ahead they end with how many prefixes the pass read, and how many of these the search asked for.
    """
    lines = []
    for step in trace:
        cells = [f"{t}({p:.2f})" for t, p in zip(step["tokens"], step["probabilities"])]
        kept, dropped = cells[: step["kept"]], cells[step["kept"] :]
        shown = " ".join(kept + ["|"] + dropped if dropped else kept)
        read = f"\tread {step['read']} prefixes, {step['asked']} of them asked for" if "read" in step else ""
        lines.append(f"R-{number}\tpass {step['pass']}\t{step['kept']}/{len(cells)}\t{shown}{read}")
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
