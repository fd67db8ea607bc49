"""fairseq's commands in processes of their own, to be killed, limited and watched.

They are forked from a server that has imported everything already, so that each starts at once.
"""

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path

import fairseq_cli.train  # noqa: F401  (so that the server has it)
import torch

from tests.command_line import PLUGIN

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
PATIENCE = 600  # seconds after which a process counts as hanging, on however busy a machine


class Command:
    """``fairseq-<name> --user-dir bang_plugin <arguments>`` in a new process.

    Args:
        log: file for what it prints.
        environment: variables to set.
        folder: to run in.
        die_when_full: a write beyond the file-size limit kills the process in the midst of it, instead of failing.
        size_limit: the file-size limit in bytes from the beginning.
    """

    def __init__(
        self, name, *arguments, log: Path, environment=None, die_when_full=False, size_limit=None, folder=None
    ):
        self.log = log
        log.write_text("")  # or what an earlier process printed would be taken for this one's
        user_dir = [] if name == "hydra_train" else ["--user-dir", PLUGIN]
        argv = [f"fairseq-{name}", *map(str, arguments), *user_dir]
        options = (name, argv, str(log), environment or {}, die_when_full, size_limit, folder)
        self.process = CONTEXT.Process(target=_run, args=options)
        self.process.start()

    def wait(self) -> int:
        """The exit status; minus the signal's number if one ended it."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(f"still running after {PATIENCE} s:\n{self.text}")
        return self.process.exitcode

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()

    def limit_file_size(self, size: int) -> None:
        """From now on no file may grow beyond ``size`` bytes."""
        with contextlib.suppress(ProcessLookupError):  # it has ended
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, size))

    def wait_for(self, text: str) -> None:
        """Until it has printed ``text`` or ended."""
        deadline = time.monotonic() + PATIENCE
        while self.process.is_alive() and text not in self.text:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {text!r} after {PATIENCE} s:\n{self.text}")
            time.sleep(0.01)

    @property
    def text(self) -> str:
        """What it has printed."""
        return self.log.read_text() if self.log.exists() else ""


def _run(name, argv, log, environment, die_when_full, size_limit, folder):
    os.environ.update(environment)
    sys.path.append(f"{PLUGIN}/hydra")  # where an installed package has it, Hydra finds it by itself
    os.chdir(folder or ".")
    if die_when_full:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if size_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_limit, size_limit))
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(1)
    sys.argv = argv
    status = 0
    try:
        importlib.import_module(f"fairseq_cli.{name}").cli_main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # multiprocessing does not call it
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
