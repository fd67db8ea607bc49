"""The demo in a terminal: Ctrl-C, going on, and what it shows."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from examples.recipe import option_list
from scripts import demo
from tests.command_line import fairseq

INTERRUPT = b"\x03"  # Ctrl-C: the terminal turns it into SIGINT for every process that runs in it
TINY = ["--updates", 12, "--most", 40]


class Terminal:
    """The demo in a terminal of its own."""

    def __init__(self, folder: Path, *options):
        command = [sys.executable, "-m", "scripts.demo", "--folder", folder, *TINY, *options]
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 120))
        self.process = subprocess.Popen(
            list(map(str, command)),
            **dict.fromkeys(("stdin", "stdout", "stderr"), slave),
            cwd=Path(__file__).parents[2],
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # makes it the session's terminal
        )
        os.close(slave)
        self.text = ""

    def read(self, until: str | None = None, patience=300) -> str:
        """What it shows until that text, or until it ends; lines as a terminal sends them."""
        deadline = time.monotonic() + patience
        while until is None or until not in self.text:
            if not select.select([self.master], [], [], deadline - time.monotonic())[0]:
                self.process.kill()
                raise TimeoutError(self.text)
            try:
                self.text += os.read(self.master, 4096).decode()
            except OSError:  # it has ended
                break
        return self.text

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> tuple[int, str]:
        """Exit status and all that it has shown."""
        text = self.read()
        return self.process.wait(60), text


def test_ctrl_c_is_one_line_and_leaves_no_half_data(tmp_path):
    terminal = Terminal(tmp_path)
    terminal.read(until="1/3")
    terminal.type(INTERRUPT)
    status, text = terminal.end()
    assert status == 130
    # the terminal shows ^C on the step's line or on one of its own, as it comes
    *shown, line = text.splitlines()
    assert shown[0].startswith("1/3 data") and "^C" in text and len(shown) <= 2
    assert line.startswith("interrupted: the same command goes on")
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_training_goes_on_after_ctrl_c(tmp_path):
    """A bar, one line for Ctrl-C, and from there on at the next start; fairseq's own lines only when asked for."""
    options = ["--most", 3000, "--updates", 400]
    terminal = Terminal(tmp_path, *options)
    terminal.read(until="25/400")
    while not (tmp_path / "checkpoint_last.pt").exists():
        time.sleep(0.1)
    terminal.type(INTERRUPT)
    status, text = terminal.end()
    assert status == 130 and "interrupted: the same command goes on" in text.splitlines()[-1]
    assert "INFO" not in text and "Traceback" not in text

    terminal = Terminal(tmp_path, *options, "--verbose")
    text = terminal.read(until="Loaded checkpoint")
    terminal.type(INTERRUPT)
    assert terminal.end()[0] == 130
    assert "1/3" not in text and "INFO" in text


def test_trains_everything_from_the_start(toy_data, caplog):
    """fairseq takes the demo's options, in any number of updates."""
    caplog.set_level("INFO")
    options = option_list({**demo.TRAINING, **demo.schedule(10), "--log-interval": 1, "--log-format": "json"})
    fairseq("train", toy_data / "bin", "--task", "bang", "--cpu", *options, "--disable-validation", "--no-save")
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "train_inner"]
    assert len(lines) == 10 and {"stream4_nll", "nar_nll"} <= set().union(*lines)
    assert all(("nar_nll" in line) != ("ar_nll" in line) for line in lines)
