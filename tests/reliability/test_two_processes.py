"""Two training processes: when one dies, the other ends with an error instead of waiting for ever."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fairseq
import fairseq_cli
import pytest
import torch

from bang_plugin.checkpoints.integrity import check_whole
from bang_plugin.guards.launch import free_port
from tests.command_line import PLUGIN
from tests.conftest import SMALL
from tests.test_checkpoints import release_data, release_file  # noqa: F401

from .processes import PATIENCE, Command
from .test_kill import same

TWO = ["--distributed-world-size", 2]
ENDLESS = ["--save-interval-updates", 1, "--keep-interval-updates", 1, "--no-epoch-checkpoints"]


def run_pair(arguments, folder: Path) -> list[Command]:
    """Two processes as torchrun would start them, without torchrun, which would end the one after the other.

    They save in ``folder/saved``, unless the arguments say otherwise.
    """
    folder.mkdir(exist_ok=True)
    together = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    arguments = ["--save-dir", folder / "saved", *arguments]
    return [
        Command("train", *arguments, log=folder / f"log{rank}", environment={**together, "RANK": str(rank)})
        for rank in range(2)
    ]


def wait_for_file(path: Path, still_running) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert still_running() and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("victim", [0, 1])
def test_survivor_ends(training, tmp_path, victim):
    pair = run_pair([*training["bang"], *ENDLESS], tmp_path)
    last = tmp_path / "saved" / "checkpoint_last.pt"
    wait_for_file(last, lambda: all(command.process.is_alive() for command in pair))
    pair[victim].kill()
    assert pair[victim].wait() == -signal.SIGKILL
    survivor = pair[1 - victim]
    assert survivor.wait() not in (0, -signal.SIGKILL)  # wait would kill it, and fail, if it hung
    assert "Error" in survivor.text
    check_whole(str(last))


def test_each_has_a_trace_of_its_own(training, tmp_path):
    """Validation writes: no process overwrites what the other one tells."""
    told = [
        "--batch-size-valid",
        5,
        "--eval-bleu",
        "--eval-bleu-args",
        '{"max_len_b": 5}',
        "--decoding",
        "nar",
        "--max-update",
        1,
        "--no-save",
    ]
    pair = run_pair([*training["bang"], *told, "--trace-file", tmp_path / "trace.jsonl"], tmp_path)
    assert [command.wait() for command in pair] == [0, 0], pair[0].text
    found = [{json.loads(line)["id"] for line in (tmp_path / f"trace.{rank}.jsonl").open()} for rank in range(2)]
    assert found[0] and found[1] and not found[0] & found[1], (sorted(found[0]), sorted(found[1]))
    assert not (tmp_path / "trace.jsonl").exists()


def workers_of(pid: int) -> list[int]:
    """Training processes that the process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.slow
def test_fairseq_train_that_starts_both_itself(training, tmp_path):
    """``--cpu --distributed-world-size 2`` trains, and ends when one of its two processes is killed."""
    arguments = [*training["bang"], *ENDLESS, *TWO, "--save-dir", tmp_path / "saved", "--user-dir", PLUGIN]
    program = "from fairseq_cli.train import cli_main; cli_main()"
    with open(tmp_path / "log", "w") as log:
        run = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=log, stderr=log)
    try:
        wait_for_file(tmp_path / "saved" / "checkpoint_last.pt", lambda: run.poll() is None)
        workers = workers_of(run.pid)
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        assert run.wait(PATIENCE) == 1
    finally:
        run.kill()
    text = (tmp_path / "log").read_text()
    assert "training on 2 devices" in text
    assert "error: training process 1 terminated with signal SIGKILL" in text.splitlines()[-1]


def test_error_in_a_worker_is_one_line(training, tmp_path):
    """Both are started by fairseq-train itself and fail to read their data."""
    (tmp_path / "saved").mkdir()
    arguments = [*training["bang"], *TWO, "--save-dir", tmp_path / "saved", "--train-subset", "nowhere"]
    command = Command("train", *arguments, "--max-update", 1, log=tmp_path / "log")
    assert command.wait() == 1
    assert re.match("error: .*nowhere", command.text.splitlines()[-1])


def finish_pair(arguments, folder: Path) -> dict:
    """Run two processes to their end; the last checkpoint."""
    for command in run_pair(arguments, folder):
        assert command.wait() == 0, command.text
    return torch.load(folder / "saved" / "checkpoint_last.pt", weights_only=True)


def assert_same_training(found: dict, expected: dict) -> None:
    for part in ("model", "last_optimizer_state"):
        assert same(found[part], expected[part]), part


def test_resumed(training, tmp_path):
    """Two processes that go on from a checkpoint end as if they had never stopped."""
    arguments = [*training["bang"], "--batch-size", 16, "--store-ema", "--max-update", 4]
    whole = finish_pair([*arguments, "--save-interval-updates", 2], tmp_path / "whole")
    (tmp_path / "parts" / "saved").mkdir(parents=True)
    middle = tmp_path / "whole" / "saved" / "checkpoint_1_2.pt"
    shutil.copy(middle, tmp_path / "parts" / "saved" / "checkpoint_last.pt")
    resumed = finish_pair(arguments, tmp_path / "parts")
    assert_same_training(resumed, whole)
    assert same(resumed["extra_state"]["ema"], whole["extra_state"]["ema"])


def test_fine_tuned_from_the_release(release_file, release_data, tmp_path):  # noqa: F811
    """Its configuration, which fairseq converts into classes of its own, is told to the other process too."""
    two = ["--encoder-layers", 2, "--decoder-layers", 2, "--encoder-attention-heads", 4, "--decoder-attention-heads", 4]
    positions = ["--max-source-positions", 40, "--max-target-positions", 40]
    options = [release_data, "--task", "bang", "--train-subset", "test", *SMALL, *two, *positions, "--max-update", 1]
    options += ["--lr", 1e-9, "--disable-validation", "--batch-size", 1, "--required-batch-size-multiple", 1]
    tuned = finish_pair([*options, "--finetune-from-model", release_file], tmp_path / "tuned")["model"]
    start = torch.load(release_file, weights_only=False)["model"]
    for name in ("encoder.embed_tokens.weight", "decoder.layers.1.fc2.weight"):
        torch.testing.assert_close(tuned[name], start[name], atol=1e-6, rtol=0)


def test_a_checkpoint_that_one_host_does_not_see(training, toy_checkpoint, tmp_path):
    """As on hosts without a common disk: both end with a line instead of waiting for each other."""
    arguments = [*training["bang"], "--max-update", 1]
    (tmp_path / "a").mkdir()
    shutil.copy(toy_checkpoint, tmp_path / "a")
    port = str(free_port())
    pair = []
    for rank, name in enumerate("ab"):
        together = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(rank)}
        options = [*arguments, "--save-dir", tmp_path / name]
        pair.append(Command("train", *options, log=tmp_path / f"log{rank}", environment=together))
    for command in pair:
        assert command.wait() == 1
        assert "checkpoint_last.pt: only 1 of 2 processes see it" in command.text.splitlines()[-1]


class Launched:
    """Two training processes under ``launcher``: fairseq's own, torchrun's, or torchrun's of two hosts in one."""

    def __init__(self, launcher: str, arguments, folder: Path):
        folder.mkdir(exist_ok=True)
        program = ["-m", "fairseq_cli.train", *arguments, "--user-dir", PLUGIN, "--save-dir", folder / "saved"]
        run, port = ["-m", "torch.distributed.run", "--nnodes"], ["--master-port", free_port()]
        commands = {
            "fairseq": [[*program, *TWO]],
            "torchrun": [[*run, 1, "--nproc-per-node", 2, *port, *program]],
            "two-hosts": [[*run, 2, "--nproc-per-node", 1, "--node-rank", rank, *port, *program] for rank in range(2)],
        }[launcher]
        self.logs = [folder / f"log{number}" for number in range(len(commands))]
        self.runs = []
        for command, log in zip(commands, self.logs):
            with open(log, "w") as file:
                options = {"stdout": file, "stderr": file, "start_new_session": True}
                self.runs.append(subprocess.Popen([sys.executable, *map(str, command)], **options))

    def running(self) -> bool:
        return all(run.poll() is None for run in self.runs)

    def kill(self) -> None:
        """All processes at once."""
        for run in self.runs:
            for pid in [*descendants(run.pid), run.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            run.wait(PATIENCE)

    def wait(self) -> None:
        try:
            for run, log in zip(self.runs, self.logs):
                assert run.wait(PATIENCE) == 0, log.read_text()
        finally:
            self.kill()


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []
    return [found for child in map(int, children) for found in (*descendants(child), child)]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["fairseq", "torchrun", "two-hosts"])
def test_killed_and_resumed(training, tmp_path, launcher):
    """``kill -9`` of all, then the same command again: the result of a training that was never killed."""
    killed = Launched(launcher, [*training["bang"], *ENDLESS], tmp_path / "killed")
    last = tmp_path / "killed" / "saved" / "checkpoint_last.pt"
    try:
        wait_for_file(last, killed.running)
    finally:
        killed.kill()
    reached = torch.load(last, weights_only=True)["optimizer_history"][-1]["num_updates"]
    until = ["--max-update", reached + 3]
    Launched(launcher, [*training["bang"], *until], tmp_path / "killed").wait()
    assert f"@ {reached} updates" in "".join(log.read_text() for log in (tmp_path / "killed").glob("log*"))
    whole = finish_pair([*training["bang"], *until], tmp_path / "whole")
    assert_same_training(torch.load(last, weights_only=True), whole)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages: fairseq and this one side by side."""
    site = tmp_path_factory.mktemp("site-packages")
    for package in (Path(fairseq.__file__).parent, Path(fairseq_cli.__file__).parent, Path(PLUGIN)):
        (site / package.name).mkdir()  # a folder of its own, or .. would lead to the real one's
        for part in package.iterdir():
            (site / package.name / part.name).symlink_to(part)
    return site


@pytest.mark.parametrize("processes", [1, 2])
def test_an_installed_package_is_found_by_its_name(training, site, tmp_path, processes):
    """``--user-dir bang_plugin`` where no such folder is: fairseq looks beside itself, and so do new processes."""
    arguments = [*training["bang"], "--distributed-world-size", processes, "--max-update", 1, "--no-save"]
    program = "from fairseq_cli.train import cli_main; cli_main()"
    command = [sys.executable, "-c", program, *map(str, arguments), "--user-dir", "bang_plugin"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=PATIENCE)
    assert run.returncode == 0, run.stderr
    shown = run.stdout + run.stderr
    assert f"training on {processes} devices" in shown and "num_updates 1" in shown
