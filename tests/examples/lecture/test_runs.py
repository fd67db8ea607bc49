"""The lecture's own runs, on a toy model."""

import json
import shutil

import pytest

from bang_plugin.errors import BangError
from examples.lecture import discussion, runs
from examples.lecture.figures.traces import steps
from examples.lecture.runs import DECODINGS, SEARCHES

from ..conftest import in_process


@pytest.fixture
def demo(toy_data, toy_checkpoint, tmp_path):
    """What make demo leaves, of the toy task."""
    folder = tmp_path / "demo"
    (folder / "raw").mkdir(parents=True)
    shutil.copytree(toy_data / "bin", folder / "data")
    shutil.copy(toy_checkpoint, folder / "checkpoint_last.pt")
    shutil.copy(toy_data / "test.src", folder / "raw")
    shutil.copy(toy_data / "test.tgt", folder / "raw" / "test.refs")
    return folder


def test_traces_hold_every_decodings_passes(demo):
    found = runs.traces(demo, 6)
    assert found["options"] == {**DECODINGS, **SEARCHES} and len(found["sentences"]) == runs.SHOWN
    for sentence in found["sentences"]:
        shown = sentence["traces"]
        assert shown.keys() == {*DECODINGS, *SEARCHES}
        wrote = {name: [token for _, new, _ in steps(trace["trace"]) for token in new] for name, trace in shown.items()}
        assert wrote["speculative"] == wrote["ar"] and wrote["ar"][-1] == runs.EOS
        assert shown["nar"]["passes"] == 1 and shown["ar"]["passes"] == len(wrote["ar"])
        assert shown["lookahead"]["passes"] <= shown["beam"]["passes"]
    json.dumps(found)


def test_words_that_reject_most_come_first(demo):
    found = runs.traces(demo, 20)["sentences"]

    def rejected(sentence):
        return sum(len(drafts) for _, _, drafts in steps(sentence["traces"]["speculative"]["trace"]))

    assert rejected(found[0]) >= rejected(found[-1])


def test_logs_hold_what_fairseq_logs(demo, monkeypatch):
    monkeypatch.setattr(runs, "fairseq", in_process)
    monkeypatch.setattr(runs, "EVERY", 1)
    monkeypatch.setattr(runs, "SCHEDULES", ("joint", "no_clipping"))
    found = runs.logs(demo / "data", 4, 3)
    assert found.keys() == {"ar_first", "joint", "no_clipping"}
    log = found["ar_first"]["log"]
    assert [row["num_updates"] for row in log] == [1, 2, 3, 4] and [row["phase"] for row in log] == [1, 1, 2, 2]
    assert all(row["lr"] > 0 and row["gnorm"] > 0 for row in log) and "ar_nll" in log[0]
    assert "clip" in found["joint"]["log"][0] and "clip" not in found["no_clipping"]["log"][0]
    assert "--clip-norm 0" in found["no_clipping"]["options"] and len(found["joint"]["log"]) == 3


def test_a_discussion_keeps_the_lines_that_answer(tmp_path, monkeypatch):
    ask = discussion.Question("printf 'noise\\nR-0\\tpass 1\\nH-0\\t-0.1\\tDEMO\\n'")
    monkeypatch.setattr(discussion, "QUESTIONS", (ask,))
    (answer,) = discussion.ask("folder")
    assert answer["output"] == "R-0\tpass 1\nH-0\t-0.1\tfolder" and "DEMO" not in answer["command"]
    monkeypatch.setattr(discussion, "QUESTIONS", (discussion.Question("echo lost >&2; exit 3"),))
    with pytest.raises(BangError, match="exit 3: lost"):
        discussion.ask("folder")


def test_fresh_writes_the_records_and_needs_the_demo(demo, tmp_path, monkeypatch):
    kept = tmp_path / "results"
    monkeypatch.setattr(runs, "FOLDER", kept)
    for module, name, content in ((runs, "traces", {}), (runs, "logs", {}), (discussion, "ask", [])):
        monkeypatch.setattr(module, name, lambda *_, content=content: content)
    runs.fresh(demo)
    for name in ("traces", "discussion", "logs"):
        record = json.loads((kept / "lecture" / f"{name}.json").read_text())
        assert record["command"] == runs.COMMAND and record["seed"] == 1 and record["machine"]["torch"]
    with pytest.raises(BangError, match="no checkpoint_last.pt and data of the demo: run make demo first"):
        runs.fresh(tmp_path / "none")
