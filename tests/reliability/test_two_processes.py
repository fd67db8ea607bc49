"""Two training processes: when one dies, the other ends with an error instead of waiting for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fairseq
import fairseq_cli
import pytest

from bang_plugin.guards.integrity import check_whole
from bang_plugin.guards.launch import free_port
from tests.command_line import PLUGIN

from .processes import PATIENCE, Command

TWO = ["--distributed-world-size", 2]
ENDLESS = ["--save-interval-updates", 1, "--keep-interval-updates", 1, "--no-epoch-checkpoints"]


def run_pair(arguments, folder: Path) -> list[Command]:
    """Two processes as torchrun would start them, without torchrun, which would end the one after the other."""
    folder.mkdir(exist_ok=True)
    together = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    arguments = [*arguments, "--save-dir", folder / "saved"]
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
    assert command.text.splitlines()[-1].startswith("error: Dataset not found: nowhere")


def test_an_installed_package_is_found_by_its_name(training, tmp_path):
    """``--user-dir bang_plugin`` where no such folder is: fairseq looks beside itself, in two new processes too."""
    site, elsewhere = tmp_path / "site-packages", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for package in (Path(fairseq.__file__).parent, Path(fairseq_cli.__file__).parent, Path(PLUGIN)):
        (site / package.name).mkdir(parents=True)  # a folder of its own, or .. would lead to the real one's
        for part in package.iterdir():
            (site / package.name / part.name).symlink_to(part)
    arguments = [*training["bang"], *TWO, "--max-update", 1, "--no-save", "--user-dir", "bang_plugin"]
    program = "from fairseq_cli.train import cli_main; cli_main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, env=environment, timeout=PATIENCE)
    assert run.returncode == 0, run.stderr
    assert "training on 2 devices" in run.stderr and "num_updates 1" in run.stderr
