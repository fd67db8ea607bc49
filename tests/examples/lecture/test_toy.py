"""The notebooks' task, and the cells of those that train, in this process."""

from pathlib import Path

import nbformat

from examples.lecture import toy

from ..conftest import in_process
from .test_notebooks import FOLDER


def test_the_toy_task_is_learnt_and_its_notebooks_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(toy, "fairseq", in_process)
    toy.data(tmp_path)
    log = toy.train(tmp_path, 60, nar_ratio=0.4)
    assert [row["num_updates"] for row in log] == [20, 40, 60] and log[-1]["ar_nll"] < log[0]["ar_nll"]
    for name, number in (("data", tmp_path / "bin"), ("train", log)):
        monkeypatch.setattr(toy, name, lambda *_, number=number, **__: number)
    hub = toy.load(tmp_path)
    monkeypatch.setattr(toy, "load", lambda _: hub)
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    for name in ("decoding", "tiny_bang"):
        scope: dict = {"Path": Path}
        for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
            if cell.cell_type == "code" and "setup.py" not in cell.source:
                exec(cell.source, scope)
    assert "% as AR" in capsys.readouterr().out and scope["right"].keys() == {"ar", "semi_nar", "nar"}
