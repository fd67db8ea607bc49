"""Text from anywhere: a line is what ends with a line feed, whatever bytes it holds, and keeps its number.

fairseq stops at bytes that are not UTF-8 and takes a carriage return for the end of a line, so that the lines of two
files, or of input and output, no longer belong together.
"""

import contextlib
import functools
import itertools
import sys

INTERACTIVE = "fairseq_cli.interactive"


def tolerant_open(original):
    """``open``, except that text is read as above: other bytes become the replacement character U+FFFD."""

    @functools.wraps(original)
    def open_text(path, mode="r", *args, **kwargs):
        if mode == "r":
            kwargs.update(encoding="utf-8", errors="replace", newline="\n")
        return original(path, mode, *args, **kwargs)

    return open_text


def tolerant_buffered_read(original):
    """fairseq-interactive's ``buffered_read``: lists of up to ``buffer_size`` lines, read as above."""

    @functools.wraps(original)
    def buffered_read(input, buffer_size):
        with contextlib.nullcontext(sys.stdin.buffer) if input == "-" else open(input, "rb") as source:
            lines = (line.decode("utf-8", errors="replace").strip() for line in source)
            while buffer := list(itertools.islice(lines, buffer_size)):
                yield buffer

    return buffered_read


def numbered(make_batches):
    """fairseq's ``make_batches`` of fairseq-interactive, which passes batches on without the numbers that it prints.

    The task is told them: attribute ``line_numbers``.
    """

    @functools.wraps(make_batches)
    def batches(lines, cfg, task, *args, **kwargs):
        begun = getattr(task, "lines_read", 0)
        for batch in make_batches(lines, cfg, task, *args, **kwargs):
            task.line_numbers = [begun + number for number in batch.ids.tolist()]
            yield batch
        task.lines_read = begun + len(lines)

    return batches
