"""The folder that an example works in, and how its steps are run, remembered and resumed."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from bang_plugin.errors import BangError

PLUGIN = Path(__file__).parents[1] / "bang_plugin"
# fairseq's speech models set up logging, to standard error, as they are imported, so that fairseq-generate's own log
# does not reach its output, which tells speed and passes; who comes first decides
LOGGED = (
    "import logging, sys; logging.basicConfig(stream=sys.stdout, level=logging.INFO); "
    "from fairseq_cli.{} import cli_main; cli_main()"
)


class Workspace:
    """Where everything of one example lies.

    Attributes:
        raw: text ``{train,dev,test}.{src,tgt}``.
        pieces: the same in pieces, and the sentencepiece model.
        bin: what fairseq-preprocess made of the pieces.
        models: a folder per run, with checkpoints.
        outputs: a folder per run, with a file ``<decoding>.txt`` (and ``.json`` with times) for the test set.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw, self.pieces, self.bin = folder / "raw", folder / "pieces", folder / "bin"
        self.models, self.outputs = folder / "models", folder / "outputs"

    def step(self, name: str, settings: dict, make: Callable[[], None]) -> None:
        """Do a step unless it was finished before.

        Args:
            name: of the step, and of its marker in ``done/``.
            settings: what the result depends on.

        Raises:
            BangError: if it was finished with other settings.
        """
        marker = self.folder / "done" / f"{name}.json"
        settings = json.loads(json.dumps(settings, default=str))
        if marker.exists():
            before = json.loads(marker.read_text())
            changed = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
            if changed:
                key = changed[0]
                raise BangError(
                    f"{name} was done with {key} {before.get(key)}, not {settings.get(key)}: "
                    f"choose another --work folder, or delete {marker} to do it again"
                )
            print(f"{name}: done before")
            return
        print(f"{name} …", flush=True)
        make()
        write_text(marker, json.dumps(settings, indent=1))

    def require(self, name: str, command: str) -> None:
        """
        Raises:
            BangError: if a step was not finished yet.
        """
        if not (self.folder / "done" / f"{name}.json").exists():
            raise BangError(f"{self.folder}: the step {name!r} was not finished yet, run {command} first")


@contextlib.contextmanager
def whole(path: Path):
    """A place to write to that becomes ``path``, a file or a folder, once the block has ended well."""
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(part)
    yield part
    if path.is_dir():
        _remove(path)
    os.replace(part, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, whole or not at all."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_lines(path: Path) -> list[str]:
    """Lines without their ends; only line feeds end lines, as in fairseq.

    Raises:
        BangError: if there is no such file.
    """
    if not path.is_file():
        raise BangError(f"{path}: no such file")
    with open(path, encoding="utf-8", newline="\n") as lines:
        return [line.rstrip("\r\n") for line in lines]


def numbers(logged: dict) -> dict[str, float]:
    """What of a line of fairseq's JSON log is a number; fairseq writes them as texts."""
    found = {}
    for name, value in logged.items():
        with contextlib.suppress(TypeError, ValueError):
            found[name] = float(value)
    return found


def arguments_for_fairseq(arguments: list[str]) -> tuple[list[str], list[str]]:
    """A command line in what stands before ``--`` and what follows it, which is fairseq's."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def fairseq(command: str, *arguments, gpus: int = 0, output: Path | None = None, visible: int | None = None) -> None:
    """Run ``fairseq-<command>`` with the plugin.

    Args:
        gpus: processes to start with torchrun, if more than one.
        output: file that its standard output and its log go to, whole or not at all; None: shown.
        visible: the only GPU that it may use.

    Raises:
        BangError: if the command fails; it has said why.
    """
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(gpus)] if gpus > 1 else []
    # a --user-dir among the arguments comes later, and wins
    options = ["--user-dir", str(PLUGIN), *map(str, arguments)]
    program = ["-c", LOGGED.format(command)] if output else ["-m", f"fairseq_cli.{command}"]
    command_line = [sys.executable, "-W", "ignore", *launcher, *program, *options]
    environment = dict(os.environ)
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(visible)
    with whole(output) if output else contextlib.nullcontext() as part:
        with open(part, "w", encoding="utf-8") if part else contextlib.nullcontext() as stdout:
            code = subprocess.run(command_line, stdout=stdout, env=environment).returncode
        if code:
            raise BangError(f"fairseq-{command} failed (exit status {code}): {' '.join(options)}")
