"""Run fairseq's commands inside the test process, as a user would type them."""

import contextlib
import importlib
import io
import logging
import re
import sys
from pathlib import Path
from unittest import mock

PLUGIN = str(Path(__file__).parents[1] / "bang_plugin")


def fairseq(command: str, *arguments, stdin: str | bytes = "", user_dir: str = PLUGIN):
    """Run ``fairseq-<command> … --user-dir <user_dir>``; returns its standard output.

    Exceptions pass through, as ``BangError`` does before the excepthook prints it.
    """
    module = importlib.import_module(f"fairseq_cli.{command}")
    argv = [f"fairseq-{command}", *map(str, arguments), "--user-dir", user_dir]
    if command != "preprocess" and "--num-workers" not in argv:
        argv += ["--num-workers", "0"]  # a data-loading process takes seconds to end
    out, handlers = io.StringIO(), list(logging.getLogger().handlers)
    source = io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin))
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdin", source),
        contextlib.redirect_stdout(out),
    ):
        try:
            module.cli_main()
        finally:
            for handler in logging.getLogger().handlers:
                handler.flush()
            logging.getLogger().handlers[:] = handlers  # fairseq-validate puts its own in their place
            preprocess = logging.getLogger("fairseq_cli.preprocess")
            for left in [h for h in preprocess.handlers if isinstance(h, logging.FileHandler)]:
                preprocess.removeHandler(left)  # else it would open a file anew that is gone by then
                left.close()
    return out.getvalue()


def hypotheses(output: str) -> dict[int, tuple[float, str]]:
    """Scores and texts of the H- lines by sentence number, in the order printed."""
    found = re.findall(r"^H-(\d+)\t(\S+)\t?(.*)$", output, re.M)
    return {int(number): (float(score), text) for number, score, text in found}
