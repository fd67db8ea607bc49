"""Text from anywhere: a line is what ends with a line feed, whatever bytes it holds, and keeps its number.

fairseq stops at bytes that are not UTF-8 and takes a carriage return for the end of a line, so that the lines of two
files, or of input and output, no longer belong together.
"""

import builtins
import contextlib
import functools
import itertools
import sys

from fairseq import file_chunker_utils
from fairseq.data import indexed_dataset

INTERACTIVE = "fairseq_cli.interactive"


def open_text(path, mode="r", *args, **kwargs):
    """``open``, except that text is read as above: other bytes become the replacement character U+FFFD."""
    if mode == "r":
        kwargs.update(encoding="utf-8", errors="replace", newline="\n")
    return builtins.open(path, mode, *args, **kwargs)


def buffered_read(input, buffer_size):
    """Yield lists of up to ``buffer_size`` lines of the file ``input``, or of standard input (``-``)."""
    with contextlib.nullcontext(sys.stdin.buffer) if input == "-" else open(input, "rb") as source:
        lines = (line.decode("utf-8", errors="replace").strip() for line in source)
        while buffer := list(itertools.islice(lines, buffer_size)):
            yield buffer


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


def install() -> None:
    """Let fairseq's tools read text so, of those for typed input only those that are loaded by now; idempotent."""
    file_chunker_utils.open = indexed_dataset.open = open_text  # fairseq-preprocess; --dataset-impl raw
    for module in (sys.modules.get(INTERACTIVE), sys.modules["__main__"]):
        if getattr(getattr(module, "__spec__", None), "name", None) == INTERACTIVE:
            module.buffered_read = buffered_read
            if not hasattr(module.make_batches, "__wrapped__"):
                module.make_batches = numbered(module.make_batches)
