"""The table of runs: what is gathered, what stands beside it, what is refused."""

import json

import pytest

from scripts.published import TASKS
from scripts.results import gather, main, notes, tabulate

SCORES = {"rouge_coco_l": 40.0, "bleu_4": 12.0, "meteor15": 20.0, "exact_match": 1.0}

MEASURED = {
    "ms_per_sentence": 5.0,
    "sentences_per_second": 300.0,
    "throughput_spread": 2.5,
    "batch_size": 32,
    "passes": 1.0,
}


def evaluation(scores=SCORES):
    return {"scores": {name: {"value": value, "signature": f"{name}|x:1"} for name, value in scores.items()}}


def measurement(name="NAR", **more):
    return {"name": name, **MEASURED, "quality": None, **more}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
        return file

    return write


def test_a_folder_is_one_run(write):
    folder = write("nar/scores.json", evaluation()).parent
    write("nar/speed.json", measurement())
    write("nar/settings.json", {"lr": 1})
    (run,) = gather(folder)
    assert (run.mode, run.scores) == ("NAR", SCORES)
    assert run.speed == MEASURED
    assert run.signatures["bleu_4"] == "bleu_4|x:1"


def test_a_file_is_a_run_and_a_list_of_measurements_several(write):
    (run,) = gather(write("semi.json", evaluation()))
    assert (run.mode, run.speed) == ("semi", {})
    both = [measurement("AR", quality={"bleu_4": 20.0}), measurement()]
    runs = gather(write("compared.json", both))
    assert [(run.mode, run.scores) for run in runs] == [("AR", {"bleu_4": 20.0}), ("NAR", {})]


def test_published_rows_stand_beside_with_their_means(write):
    task = TASKS["question_generation"]
    rows = tabulate(gather(write("nar.json", evaluation())), task)
    assert (
        rows[0] | {"mode": "nar", "R-L": 40.0, "B-4": 12.0, "MTR": 20.0, "overall": 24.0, "decoder passes": ""}
        == rows[0]
    )
    by_name = {(row["model"], row["mode"]): row for row in rows}
    assert by_name["BANG", "NAR"]["overall"] == pytest.approx((44.07 + 12.75 + 18.99) / 3)
    assert by_name["ProphetNet", "AR"]["B-4"] == 19.58
    assert all(list(row) == list(rows[0]) for row in rows)


def test_a_run_without_one_of_the_numbers_has_no_mean(write):
    rows = tabulate(gather(write("nar.json", evaluation({"bleu_4": 12.0}))), TASKS["question_generation"])
    assert (rows[0]["B-4"], rows[0]["R-L"], rows[0]["overall"]) == (12.0, "", "")


def test_without_a_task_all_numbers_are_shown(write):
    runs = gather(write("a.json", evaluation({"exact_match": 1.0}))) + gather(write("b.json", evaluation({"per": 2.0})))
    rows = tabulate(runs, None)
    assert [(row["mode"], row["exact_match"], row["per"]) for row in rows] == [("a", 1.0, ""), ("b", "", 2.0)]


def test_published_rows_have_all_numbers_and_say_what_is_second_hand():
    for task in TASKS.values():
        assert len({(row.model, row.mode) for row in task.rows}) == len(task.rows)
        for row in task.rows:
            assert len(row.values) == len(task.names)
            assert row.second_hand == (row.model == "BANG" and row.mode != "NAR")
            assert ("not recovered" in row.note) == (row.mode == "semi-NAR")


def published(task, model, mode):
    (row,) = (row for row in tabulate([], TASKS[task]) if (row["model"], row["mode"]) == (model, mode))
    return row


@pytest.mark.parametrize(
    "model, mode, average",
    [
        ("Transformer", "AR", 25.59),
        ("MASS", "AR", 34.31),
        ("BART", "AR", 32.66),
        ("ProphetNet", "AR", 34.55),
        ("Vanilla NAT", "NAR", 17.68),
        ("GLAT+CTC", "NAR", 25.00),
        ("DSLP+CTC", "NAR", 24.92),
        ("LatentGLAT", "NAR", 24.28),
        ("BANG", "NAR", 27.88),
        ("MIST", "NAR", 31.01),
        ("PreDAT, not pretrained", "NAR", 25.86),
        ("PreDAT", "NAR", 34.59),
        ("PreDAT + beam", "NAR", 35.26),
    ],
)
def test_published_rows_have_the_mean_that_predats_table_gives(model, mode, average):
    """Its column "avg" is over the nine numbers of SQuAD, XSum and Quora."""
    rows = [published(task, model, mode) for task in ("question_generation", "summarization", "paraphrasing")]
    assert sum(row["overall"] for row in rows) / 3 == pytest.approx(average, abs=0.015)


def test_published_speeds_and_notes_stand_in_the_table():
    bang = published("summarization", "BANG", "NAR")
    assert (bang["ms per sentence, batch 1"], bang["sentences per second"], bang["decoder passes"]) == (18, 360, "")
    assert "speed: PreDAT's authors'" in bang["source"]
    assert "6.3 times as fast as BART" in published("question_generation", "DEER", "NAR, 1 step")["source"]
    assert "was not recovered" in published("dialogue", "BANG", "semi-NAR")["source"]
    assert "not comparable with sentence BLEU" in notes([], TASKS["dialogue_corpus"])
    assert "overall" not in published("dialogue_corpus", "BANG", "NAR")


def test_command_line_writes_table_and_plot(write, tmp_path, capsys):
    folder = write("nar/scores.json", evaluation()).parent
    write("nar/speed.json", measurement())
    bare = write("bare.json", evaluation({"bleu_4": 1.0}))
    main([str(folder), str(bare), "--task", "question_generation", "--output", str(tmp_path / "out/v1.2")])
    table = (tmp_path / "out/v1.2.md").read_text()
    assert table in capsys.readouterr().out
    lines = table.splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        *("ours", "NAR", "40.00", "12.00", "20.00", "24.00", "5.00", "300.00", "2.50", "32", "1.00", "measured")
    ]
    assert sum("published, second-hand: BANG" in line for line in lines) == 2
    assert "- `bleu_4|x:1`" in lines and "exact_match" not in table
    assert "- `bare: without rouge_coco_l, meteor15`" in lines
    assert (tmp_path / "out/v1.2.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["v1.2.md", "v1.2.png"]


@pytest.mark.parametrize(
    "content, options, message",
    [
        ({}, [], "no scores of bang evaluate and no measurement in it"),
        (evaluation(), ["--quality", "beauty"], "--quality beauty: there are rouge_coco_l, "),
        (measurement(), [], "none of these runs has a score"),
    ],
)
def test_mistakes_are_told_in_one_line(write, tmp_path, content, options, message):
    file = write("run.json", content)
    with pytest.raises(SystemExit) as stop:
        main([str(file), *options, "--output", str(tmp_path / "out")])
    assert message in stop.value.code and "\n" not in stop.value.code
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_files_that_cannot_be_told_apart_are_refused(write, tmp_path):
    folder = write("run/one.json", evaluation()).parent
    write("run/two.json", evaluation({"bleu_4": 1.0}))
    with pytest.raises(ValueError, match="two.json: bleu_4 also in another file"):
        gather(folder)
    write("run/two.json", [measurement(), measurement("AR")])
    with pytest.raises(ValueError, match="2 measurements beside scores"):
        gather(folder)
    with pytest.raises(ValueError, match="absent.json: No such file"):
        gather(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(ValueError, match="text.json: not JSON"):
        gather(tmp_path / "text.json")


def test_what_the_examples_write_is_a_measurement(write):
    """Step generate tells costs, and no name."""
    folder = write("ar/scores.json", evaluation()).parent
    costs = {"ms_per_sentence": 140.0, "sentences_per_second": 7.5, "batch_size": 31.5, "passes": 9.0}
    write("ar/ar.json", costs)
    (run,) = gather(folder)
    assert (run.mode, run.speed) == ("ar", costs)
