"""Type checkers read the annotations of an installed package, which says so by a file."""

import distutils.core
from pathlib import Path

import bang_plugin

ROOT = Path(bang_plugin.__file__).parent.parent


def test_marker_is_installed(monkeypatch):
    monkeypatch.chdir(ROOT)
    build = distutils.core.run_setup("setup.py", stop_after="init").get_command_obj("build_py")
    build.ensure_finalized()
    files = {package: names for package, _, _, names in build.data_files}
    assert "py.typed" in files["bang_plugin"]
