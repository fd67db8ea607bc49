"""The lecture, built once from small made records."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bang_plugin.errors import BangError
from examples.lecture import __main__ as command
from examples.lecture import build, packages, records

from ...serving.pages.conftest import chromium, open_page  # noqa: F401
from . import made


@pytest.fixture(scope="session")
def from_npm():
    """reveal.js and the font are there, or npm fetches them."""
    try:
        for package in (packages.REVEAL, packages.NOTO):
            packages.fetched(package)
    except BangError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def made_records(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "results"
    made.write(folder)
    return folder


@pytest.fixture
def recorded(made_records, monkeypatch) -> Path:
    """The lecture reads the made records."""
    for module in (records, build):
        monkeypatch.setattr(module, "FOLDER", made_records)
    return made_records


@pytest.fixture
def some_recorded(made_records, tmp_path, monkeypatch) -> Path:
    """The same in a copy of which records may be taken away."""
    folder = tmp_path / "docs" / "results"
    shutil.copytree(made_records.parent, folder.parent)
    for module in (records, build):
        monkeypatch.setattr(module, "FOLDER", folder)
    return folder


@pytest.fixture(scope="session")
def lecture(from_npm, made_records, tmp_path_factory):
    """Everything as the command writes it, and what was drawn: 26 figures and tables in two languages."""
    with pytest.MonkeyPatch.context() as patched:
        for module in (records, build):
            patched.setattr(module, "FOLDER", made_records)
        folder = tmp_path_factory.mktemp("lecture")
        command.main(["--output", str(folder)])
        read = {
            name: json.loads((made_records / name).read_text()) for name in os.listdir(made_records) if ".json" in name
        }
        return SimpleNamespace(folder=folder, records=read)
