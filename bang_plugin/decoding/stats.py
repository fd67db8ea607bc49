"""Tells how sentences were written: which tokens came in which pass, and how many passes it took."""

import fcntl
import gc
import json
import logging
import os
import weakref
from typing import Dict, List, Optional

from fairseq.distributed import utils as distributed_utils

from ..errors import BangError

logger = logging.getLogger(__name__)


class DecodingStats:
    """Totals over all sentences, logged when the owner is done, and a trace of every sentence on request.

    Args:
        owner: the totals are logged when this object goes away or the program ends.
        decoding: name of the mode, for the log.
        print_trace: print every sentence's passes to standard output.
        trace_file: write them to this file as JSON lines; in distributed training each process has one of its own,
            ``trace.0.jsonl``, ``trace.1.jsonl``, … for ``trace.jsonl``.

    Raises:
        BangError: if the file cannot be written, or another process or generator is writing it.
    """

    def __init__(self, owner, decoding: str, print_trace: bool = False, trace_file: Optional[str] = None):
        self.totals = {"batches": 0, "sentences": 0, "passes": 0, "tokens": 0, "proposed": 0}
        self.print_trace = print_trace
        self.file = None
        if trace_file:
            self.file = _open(trace_file)
        weakref.finalize(owner, _close, decoding, self.totals, self.file)

    @property
    def traces(self) -> bool:
        """Whether hypotheses need to record their passes."""
        return self.print_trace or self.file is not None

    def add(self, ids: Optional[List[int]], hypotheses: List[List[Dict]]) -> None:
        """Count, and if asked show, the hypotheses of a batch.

        Args:
            ids: numbers of the sentences; None goes on counting.
            hypotheses: per sentence, the best one first.
        """
        seen = self.totals["sentences"]
        self.totals["batches"] += 1
        for number, (hypothesis, *_) in zip(ids or range(seen, seen + len(hypotheses)), hypotheses):
            self.totals["sentences"] += 1
            for total, key in (("passes", "passes"), ("tokens", "kept"), ("proposed", "proposed")):
                self.totals[total] += hypothesis.get(key, 0)
            if self.print_trace:
                print("\n".join(format_trace(number, hypothesis["trace"])))
            if self.file:
                record = {"id": number, "score": float(hypothesis["score"]), "passes": hypothesis["passes"]}
                print(json.dumps({**record, "trace": hypothesis["trace"]}, ensure_ascii=False), file=self.file)


def summary(decoding: str, totals: Dict[str, int]) -> str:
    """One line about all sentences: mean batch and passes and, for modes that draft, tokens per pass and the share of
    proposed tokens that were kept."""
    sentences, passes, tokens = totals["sentences"], totals["passes"], totals["tokens"]
    line = (
        f"--decoding {decoding}: {sentences} sentences in batches of {sentences / totals['batches']:.1f}, "
        f"{passes / sentences:.2f} decoder passes each"
    )
    if totals["proposed"]:
        kept = 100 * tokens / totals["proposed"]
        line += f", {tokens / passes:.2f} tokens per pass, {kept:.1f} % of proposed tokens kept"
    return line


def format_trace(number: int, trace: List[Dict]) -> List[str]:
    """Lines ``R-number  pass  kept/proposed  tokens(probability)``; tokens behind the bar were not kept."""
    lines = []
    for step in trace:
        cells = [f"{t}({p:.2f})" for t, p in zip(step["tokens"], step["probabilities"])]
        kept, dropped = cells[: step["kept"]], cells[step["kept"] :]
        shown = " ".join(kept + ["|"] + dropped if dropped else kept)
        lines.append(f"R-{number}\tpass {step['pass']}\t{step['kept']}/{len(cells)}\t{shown}")
    return lines


def _open(path: str):
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


def _close(decoding: str, totals: Dict[str, int], file) -> None:
    if file:
        file.close()
    if totals["sentences"]:
        logger.info(summary(decoding, totals))
