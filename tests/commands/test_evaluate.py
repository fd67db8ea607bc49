"""What the evaluator reads, prints, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bang_plugin.__main__ import main
from bang_plugin.commands import evaluate as program
from bang_plugin.errors import BangError
from bang_plugin.evaluation import evaluate, pool
from bang_plugin.evaluation.files import read_hypotheses, read_references, write_whole


def test_generate_output_is_sorted_and_its_best_and_plain_lines_taken(tmp_path):
    file = tmp_path / "generate-test.txt"
    file.write_text(
        "S-1\tx\nT-1\ty\nH-1\t-0.5\tun@@ done\nD-1\t-0.5\tundone\nH-1\t-0.9\tworse\nD-1\t-0.9\tworse\nP-1\t-0.5\n"
        "H-0\t-1e-05\t\nD-0\t-1e-05\t\nR-0\tpass 1\t2/2\ta(0.9)\nGenerate test with beam=5: BLEU4 = 1.0\n"
    )
    assert read_hypotheses(file) == ["", "undone"]
    file.write_text("H-1\t-0.5\tb\nH-0\t0.1\ta\n")
    assert read_hypotheses(file) == ["a", "b"]


def test_plain_text_keeps_empty_lines_and_odd_separators(tmp_path):
    file = tmp_path / "plain.txt"
    file.write_bytes("\ufeffa\u2028b\r\n\nc\x0bd\n".encode())
    assert read_hypotheses(file) == ["a\u2028b", "", "c\x0bd"]


def test_references_from_several_files_and_between_tabs(tmp_path):
    for name, text in (("one", "a\tb\nc\n"), ("two", "d\n\n")):
        (tmp_path / name).write_text(text)
    paths = [tmp_path / "one", tmp_path / "two"]
    assert read_references(paths, tab_separated=True) == [["a", "b", "d"], ["c"]]
    assert read_references(paths) == [["a\tb", "d"], ["c"]]


def test_identical_sources_are_one_sentence():
    sources, hypotheses = ["s", "t", "s "], ["first", "second", "third"]
    assert pool(sources, hypotheses, [["a"], ["b"], ["c", "d"]]) == (["third", "second"], [["a", "c", "d"], ["b"]])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "scores.json"
    file.write_text("old")

    def fail(part):
        part.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(BangError, match="scores.json: No space left on device"):
        write_whole(file, fail)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("scores.json", "old")]


# command line


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "hyp": "a b c\na b\nx\n",
        "other": "a b x\nb b\nx\n",
        "ref": "a b c\na c\nx\n",
        "src": "s\nt\ns\n",
        "two": "a\nb\n",
        "empty": "\n",
        "gap": "H-0\t-1\ta\nH-3\t-1\tb\n",
        "blank": "a\n\nb\n",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "latin").write_bytes("a\nb\xe9\nc\n".encode("latin-1"))
    return tmp_path


def test_command_line_prints_and_writes(files, capsys):
    metrics = ["--metrics", "per", "exact", "distinct"]
    tests = ["--confidence-intervals", "--bootstrap-samples", "50", "--baseline", "other"]
    main(["evaluate", "hyp", "--references", "ref", *metrics, *tests, "--json", "out/scores.json"])
    printed = capsys.readouterr().out
    record = json.loads((files / "out/scores.json").read_text())
    assert record["sentences"] == 3
    assert record["scores"]["phoneme_error_rate"]["value"] == pytest.approx(100 / 6)
    assert record["scores"]["distinct_1"]["interval"] is None
    for score in record["scores"].values():
        assert score["signature"] in printed and "|refs:1" in score["signature"]
    test = record["baseline"]["tests"]["exact_match"]
    assert test["baseline"] == pytest.approx(100 / 3) and test["difference"] == pytest.approx(100 / 3)
    assert f"{test['p']:.4f}" in printed and "66.67" in printed
    tested = [each for each in record["baseline"]["tests"].values() if each["p"] is not None]
    assert len(tested) == 2 and test["corrected"] >= test["p"]  # Distinct has none
    assert "p (Holm)" in printed and f"{test['corrected']:.4f}" in printed
    assert [path.name for path in (files / "out").iterdir()] == ["scores.json"]


def test_command_line_pools_by_source(files, capsys):
    main(["evaluate", "hyp", "--references", "ref", "--sources", "src", "--metrics", "exact", "--json", "scores.json"])
    record = json.loads((files / "scores.json").read_text())
    assert "2 sentences, pooled from 3 lines" in capsys.readouterr().out
    assert record["scores"]["exact_match"]["value"] == 50  # "x" is one of the references of "s"
    assert record["scores"]["exact_match"]["signature"].endswith("|group:source[last]|refs:var")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("hyp --references two", "hyp has 3 sentences, but two has 2"),
        ("hyp --references ref two", "two has 2 sentences, but ref has 3"),
        ("hyp --references ref --sources two", "two has 2 sentences, but ref has 3"),
        ("hyp --references ref --baseline two", "two has 2 sentences, but ref has 3"),
        ("absent --references ref", "absent: No such file or directory"),
        (". --references ref", "Is a directory"),
        ("empty --references ref", "empty: no text in it"),
        ("hyp --references latin", "latin: line 2 is not UTF-8"),
        ("hyp --references blank", "blank: line 2 has no reference"),
        ("gap --references ref", "gap: no hypothesis for 2 of 4 sentences (1, 2)"),
        ("hyp --references ref --metrics blue bleu", "unknown metric blue; there are bleu, "),
        ("hyp --references ref --tokenize 14a", "--tokenize 14a: sacrebleu has 13a, "),
        ("hyp --references ref --metrics meteor --meteor-jar absent.jar", "--meteor-jar absent.jar: no such file"),
        ("hyp --references ref --bootstrap-samples 0", "cannot draw 0 bootstrap samples"),
        ("hyp --references ref --json ref/scores.json", "ref/scores.json: "),
    ],
)
def test_mistakes_are_told_in_one_line(files, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments.split()])
    told = stop.value.code
    assert told.startswith("error: ") and message in told and "\n" not in told


def test_exit_code_without_traceback(files):
    root = Path(program.__file__).parents[2]
    command = [sys.executable, "-m", "bang_plugin", "evaluate", "hyp", "--references", "two"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)})
    assert (done.returncode, done.stderr) == (1, "error: hyp has 3 sentences, but two has 2\n")


def test_texts_too_long_to_compare_are_an_error():
    long = " ".join("a" * 2001)
    for metric in ("per", "rouge-coco"):
        with pytest.raises(BangError, match="too long"):
            evaluate([long], [["a"]], [metric])


def test_calls_with_nothing_to_score_are_errors():
    for hypotheses, references in (([], []), (["a"], [[]]), (["a"], [["a"], ["b"]])):
        with pytest.raises(BangError):
            evaluate(hypotheses, references, ["exact"])


def test_command_line_reads_references_between_tabs(files):
    (files / "tabs").write_text("no\ta b c\nno\nx\tno\n")
    for options, expected in (([], 0), (["--tab-references"], 200 / 3)):
        main(["evaluate", "hyp", "--references", "tabs", "--metrics", "exact", "--json", "scores.json", *options])
        found = json.loads((files / "scores.json").read_text())["scores"]["exact_match"]["value"]
        assert found == pytest.approx(expected)
