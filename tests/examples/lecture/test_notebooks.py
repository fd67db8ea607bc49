"""The notebooks run top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from examples import lecture

FOLDER = Path(lecture.__file__).parent / "notebooks"


@pytest.mark.parametrize(
    "name",
    ["picture", *(pytest.param(name, marks=pytest.mark.slow) for name in ("decoding", "tiny_bang"))],
)
def test_runs_top_to_bottom(name, tmp_path):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    shown = str([cell.outputs for cell in cells])
    assert {"picture": "rows of stream 1", "decoding": "% as AR", "tiny_bang": "image/png"}[name] in shown


def test_they_are_kept_without_outputs():
    files = sorted(FOLDER.glob("*.ipynb"))
    assert [file.stem for file in files] == ["decoding", "picture", "tiny_bang"]
    for file in files:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
        assert not any(cell.get("outputs") for cell in notebook.cells)
