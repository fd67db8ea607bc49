"""Text from anywhere: a line is what ends with a line feed, whatever bytes it holds, and keeps its number.

fairseq stops at bytes that are not UTF-8 and takes a carriage return for the end of a line, so that the lines of two
files, or of input and output, no longer belong together.
"""

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from fairseq.tasks import FairseqTask
from omegaconf import DictConfig

INTERACTIVE = "fairseq_cli.interactive"


def tolerant_open(original: Callable[..., Any]) -> Callable[..., Any]:
    """``open``, except that text is read as above: other bytes become the replacement character U+FFFD."""

    @functools.wraps(original)
    def open_text(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> IO[Any]:
        if mode == "r":
            kwargs.update(encoding="utf-8", errors="replace", newline="\n")
        return original(path, mode, *args, **kwargs)

    return open_text


def tolerant_buffered_read(original: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq-interactive's ``buffered_read``: lists of up to ``buffer_size`` lines, read as above."""

    @functools.wraps(original)
    def buffered_read(input: str, buffer_size: int) -> Iterator[list[str]]:
        with contextlib.nullcontext(sys.stdin.buffer) if input == "-" else open(input, "rb") as source:
            lines = (line.decode("utf-8", errors="replace").strip() for line in source)
            while buffer := list(itertools.islice(lines, buffer_size)):
                yield buffer

    return buffered_read


def numbered(make_batches: Callable[..., Any]) -> Callable[..., Any]:
    """fairseq's ``make_batches`` of fairseq-interactive, which passes batches on without the numbers that it prints.

    The task is told them: attribute ``line_numbers``.
    """

    @functools.wraps(make_batches)
    def batches(lines: list[str], cfg: DictConfig, task: FairseqTask, *args: Any, **kwargs: Any) -> Iterator[Any]:
        begun = getattr(task, "lines_read", 0)
        for batch in make_batches(lines, cfg, task, *args, **kwargs):
            task.line_numbers = [begun + number for number in batch.ids.tolist()]
            yield batch
        task.lines_read = begun + len(lines)

    return batches
