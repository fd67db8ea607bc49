"""fairseq's own models, and what needs none, in the tables of the examples on two cores."""

import json

import pytest

from bang_plugin.errors import BangError
from examples import driver, package_summaries, train, translation
from examples.generate import figures
from examples.recipe import DIAL, ITERATIONS, SOURCE_PIECES
from examples.workspace import Workspace, read_lines, write_text
from scripts.published import TASKS
from scripts.results import Run, gather, tabulate

from .conftest import SMALL
from .test_examples import modes, run

OWN = [option for option in SMALL if option not in ("--arch", "bang_tiny")]  # fairseq's architectures stay


def small(folder, *options, own=True):
    run(translation, folder, "train", "--gpus", 0, *options, "--", *(OWN if own else SMALL))


@pytest.mark.parametrize(
    "name", ["nat", *(pytest.param(name, marks=pytest.mark.slow) for name in ("transformer", "cmlm"))]
)
def test_a_baseline_goes_the_usual_four_steps(fast, data, tmp_path, name):
    work = tmp_path / "work"
    run(translation, work, "prepare", "--data", data, "--pieces", 60)
    small(work, "--updates", 2, "--mode", name)
    run(translation, work, "generate", "--gpus", 0)
    run(translation, work, "score")
    results = {found["mode"]: found for found in json.loads((work / "scores.json").read_text())}
    decodings = translation.RECIPE.modes[name].decodings
    assert sorted(results) == sorted(f"{name}, {decoding}" for decoding in decodings)
    for found in results.values():
        assert set(found["scores"]) == {"bleu_4", "chrf"} and found["speed"]["ms_per_sentence"] > 0
        assert found["training"]["updates"] == 2 and found["training"]["minutes"] > 0
    if name != "transformer":
        passes = [results[f"{name}, {decoding}"]["speed"]["passes"] for decoding in decodings]
        most = [1] if name == "nat" else list(ITERATIONS)
        assert all(1 <= count <= limit for count, limit in zip(passes, most, strict=True))
    assert all(len(read_lines(path)) == 10 for path in (work / "outputs" / name).glob("*.txt"))


@pytest.mark.slow
def test_one_checkpoint_writes_every_setting_and_nar_alone_has_the_teachers_targets(fast, data, tmp_path):
    work = tmp_path / "work"
    run(translation, work, "prepare", "--data", data, "--pieces", 60)
    small(work, "--updates", 2, "--mode", "ar", own=False)
    small(work, "--updates", 2, "--mode", "all", "--distil", "--shards", 1, own=False)
    run(translation, work, "generate", "--gpus", 0, "--mode", "all", "--distil")
    run(translation, work, "score")
    results = json.loads((work / "scores.json").read_text())
    assert sorted(modes(results)) == sorted(f"all-distil, {decoding}" for decoding in DIAL)
    record = json.loads((work / "models" / "all-distil" / "training.json").read_text())
    assert f"fairseq-train {work / 'bin'} " in record["command"] and record["seed"] == 1
    assert f"--nar-data {work / 'bin-distil'} " in record["command"]
    samples = (work / "samples.md").read_text()
    assert samples.count("## Test sentence") == 10 and samples.count("| reference |") == 10
    assert samples.count("| all-distil, lookahead |") == 10


def planned(monkeypatch, tmp_path, recipe, *options):
    """Trainings that a command would run."""
    work, asked = Workspace(tmp_path / "planned"), []
    for step in ("binarise", "train ar"):
        write_text(work.folder / "done" / f"{step}.json", "{}")

    def told(command, *arguments, output=None, gpus=0):
        asked.append(" ".join(map(str, arguments)))
        if output:
            write_text(output, '{"train_ups": "2.5"}\n')

    monkeypatch.setattr(train, "fairseq", told)
    monkeypatch.setattr(train, "distil", lambda *_: None)
    driver.main(recipe, ["train", "--work", str(work.folder), "--gpus", "0", *options])
    return work.folder, asked


def test_a_teachers_targets_are_for_nar_alone_where_ar_is_trained_too(tmp_path, monkeypatch):
    work, asked = planned(monkeypatch, tmp_path, translation.RECIPE, "--distil", "--mode", "nar", "all", "cmlm")
    nar, every, cmlm = asked
    assert nar.startswith(f"{work / 'bin-distil'} ") and cmlm.startswith(f"{work / 'bin-distil'} ")
    assert every.startswith(f"{work / 'bin'} ") and f"--nar-data {work / 'bin-distil'} " in every
    assert "--nar-data" not in nar + cmlm


def test_every_training_has_the_updates_that_fit_into_the_minutes(tmp_path, monkeypatch):
    recipe = package_summaries.RECIPE
    _, asked = planned(monkeypatch, tmp_path, recipe, "--minutes", "2", "--mode", "lead", "cmlm", "all")
    trial, cmlm, other_trial, every = asked  # what needs no model has none
    assert "--max-update 100" in trial and "--no-save" in trial and "--arch cmlm_transformer" in trial
    assert "--ar-updates 60" in other_trial
    for options in (cmlm, every):
        assert "--max-update 300 --total-num-update 300" in options and "--no-save" not in options
    assert "--ar-updates 180" in every
    with pytest.raises(SystemExit):
        planned(monkeypatch, tmp_path, recipe, "--minutes", "2", "--updates", "3")


def test_a_trials_log_tells_its_pace(fast, data, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "PILOT", 4)
    run(translation, tmp_path / "work", "prepare", "--data", data, "--pieces", 60)
    small(tmp_path / "work", "--minutes", 0.001, "--mode", "nat")
    pace = json.loads((tmp_path / "work" / "pace" / "nat.json").read_text())["updates_per_second"]
    record = json.loads((tmp_path / "work" / "models" / "nat" / "training.json").read_text())
    assert pace > 0 and record["updates"] == max(1, round(0.06 * pace))
    log = tmp_path / "log"
    log.write_text("nothing")
    with pytest.raises(BangError, match="logged no updates per second"):
        train.updates_per_second(log)


def test_first_words_need_no_training(fast, data, tmp_path):
    work = tmp_path / "work"
    run(package_summaries, work, "prepare", "--data", data, "--pieces", 60)
    (work / "raw" / "train.tgt").write_text("a b\n" * 20 + "a b c d\n" * 40)  # 3.33 words in the mean
    run(package_summaries, work, "generate", "--gpus", 0)
    run(package_summaries, work, "score")
    sources = read_lines(work / "raw" / "test.src")
    assert read_lines(work / "outputs" / "lead" / "lead.txt") == [" ".join(text.split()[:3]) for text in sources]
    (row,) = json.loads((work / "scores.json").read_text())
    assert row["mode"] == "lead, lead" and row["speed"] == {} and row["training"] == {}
    samples = (work / "samples.md").read_text()
    assert [samples.count(f"| {name} |") for name in ("source", "reference", "lead, lead")] == [10, 10, 10]


def test_sources_are_cut_before_training(fast, data, tmp_path):
    (data / "train.src").write_text("ba be bi " * 100 + "\n" + "bo bu\n" * 59)
    run(translation, tmp_path, "prepare", "--data", data, "--pieces", 60)
    long, short, *_ = read_lines(tmp_path / "pieces" / "train.src")
    assert len(long.split()) == SOURCE_PIECES and len(short.split()) < 10


def test_passes_of_fairseqs_own_refinement(tmp_path):
    log = tmp_path / "log"
    log.write_text("I-0\t0\nI-1\t9\n| Translated 2 sentences (9 tokens) in 1.0s (2.00 sentences/s, 9.00 tokens/s)\n")
    assert figures(log) == (2, None, 5.5)


def test_a_training_is_told_beside_its_scores(tmp_path):
    (tmp_path / "speed.json").write_text('{"passes": 2}')
    record = {"command": "fairseq-train data", "updates": 600, "minutes": 7.5}
    (tmp_path / "training.json").write_text(json.dumps(record))
    (found,) = gather(tmp_path)
    assert found.training == {"updates": 600, "minutes": 7.5}
    without, row = tabulate([Run("lead"), found], None)
    assert row["minutes of training"] == 7.5 and row["updates"] == 600 and list(row)[-1] == "source"
    assert without["updates"] == "" and without.keys() == row.keys()
    assert "updates" not in tabulate([Run("lead")], None)[0]
    *_, published = tabulate([found], TASKS["summarization"])
    assert published["updates"] == ""
    (tmp_path / "training.json").write_text("[]")
    with pytest.raises(BangError, match="training.json: not the record of a training"):
        gather(tmp_path)
