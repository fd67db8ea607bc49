"""The demo in a terminal: Ctrl-C, going on, and what it shows."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

INTERRUPT = b"\x03"  # Ctrl-C: the terminal turns it into SIGINT for every process that runs in it
TINY = ["--updates", 12, "--most", 40]


class Terminal:
    """The demo in a terminal of its own."""

    def __init__(self, folder: Path, *options):
        command = [sys.executable, "-m", "scripts.demo", "--folder", folder, *TINY, *options]
        self.master, slave = pty.openpty()
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
    demo = Terminal(tmp_path)
    demo.read(until="1/3")
    demo.type(INTERRUPT)
    status, text = demo.end()
    assert status == 130
    assert [line for line in text.splitlines() if line.strip()][1:] == [text.splitlines()[-1]]
    assert "interrupted: the same command goes on" in text
    assert not (tmp_path / "data").exists()
