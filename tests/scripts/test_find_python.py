"""Which Python ``make`` takes, on machines whose ``python3`` will not do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "find_python.sh"


@pytest.fixture
def machine(tmp_path):
    """A machine that has these programs, as shell scripts by name, and a shell."""

    def build(**programs):
        for name in ("sh", "mktemp", "rm", "uname"):
            (tmp_path / name).symlink_to(next(p for p in (Path("/bin", name), Path("/usr/bin", name)) if p.exists()))
        for name, text in programs.items():
            file = tmp_path / name.replace("_", ".")
            file.write_text(f"#!/bin/sh\n{text}\n")
            file.chmod(0o755)
        return {"PATH": str(tmp_path), "HOME": str(tmp_path)}

    return build


def find(environment, *arguments):
    return subprocess.run(["sh", SCRIPT, *arguments], env=environment, capture_output=True, text=True)


UNFIT = "exit 1"
FIT = f"exec {sys.executable} -c \"print('/a/fitting/python')\""


def test_another_python_is_found_where_python3_will_not_do(machine):
    found = find(machine(python3=UNFIT, python3_12=FIT))
    assert (found.returncode, found.stdout, found.stderr) == (0, "/a/fitting/python\n", "")


def test_pythons_of_pyenv_are_found(machine, tmp_path):
    environment = machine(python3=UNFIT)
    python = tmp_path / ".pyenv/versions/3.12.9/bin/python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "fit")
    (tmp_path / "fit").write_text(f"#!/bin/sh\n{FIT}\n")
    (tmp_path / "fit").chmod(0o755)
    assert find(environment).stdout == "/a/fitting/python\n"


def test_uv_fetches_one(machine, tmp_path):
    uv = f'case "$2" in install) echo fetched > {tmp_path}/log;; find) echo {tmp_path}/fetched;; esac'
    found = find(machine(python3=UNFIT, uv=uv, fetched=FIT))
    assert (found.returncode, found.stdout) == (0, "/a/fitting/python\n")
    assert (tmp_path / "log").read_text() == "fetched\n"


def test_uv_itself_is_fetched_by_pip(machine, tmp_path):
    pip = f"""[ "$2" = pip ] || exit 1
while [ "$1" != --target ]; do shift; done
/bin/mkdir "$2/bin"
echo "echo {tmp_path}/fetched" > "$2/bin/uv"
/bin/chmod +x "$2/bin/uv"
"""
    found = find(machine(python3=pip, fetched=FIT))
    assert (found.returncode, found.stdout) == (0, "/a/fitting/python\n")


def test_where_there_is_none_one_line_says_what_to_install(machine):
    found = find(machine(python3=UNFIT, uv=UNFIT))
    assert found.returncode == 1 and not found.stdout
    assert "fetching Python 3.12 by uv" in found.stderr.splitlines()[0]
    assert "install Python 3.12" in found.stderr.splitlines()[1] and len(found.stderr.splitlines()) == 2


def test_a_python_that_is_named_is_the_only_one_that_counts(machine):
    environment = machine(python3=FIT, python3_9=UNFIT)
    assert find(environment, "python3.9").returncode == 1
    assert find(environment, "python3.9").stderr.startswith("python3.9 will not do: make needs Python 3.12")
    assert find(os.environ, sys.executable).stdout == f"{sys.executable}\n"
