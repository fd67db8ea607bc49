"""All figures and tables exist in both languages, hold what the records hold, and say where it comes from."""

import csv
import json
import xml.etree.ElementTree as xml
from statistics import fmean

import pytest

from examples.lecture import __main__ as command
from examples.lecture import packages, records, registry
from examples.lecture.build import check
from examples.lecture.figures import idea, trade, training
from examples.lecture.forms import JUDGED
from examples.lecture.language import LANGUAGES, say_in, suffix
from examples.lecture.records import Found
from examples.lecture.texts import texts
from scripts.published import FIELD, KINDS

SVG = "{http://www.w3.org/2000/svg}"


def item(kind: str, number: int) -> registry.Item:
    return next(one for one in registry.items() if (one.kind, one.number) == (kind, number))


def rows(lecture, number: int, language: str = "en") -> list[dict]:
    with open(lecture.folder / "tables" / f"table{number:02d}{suffix(language)}.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def words(path) -> str:
    """All text of an SVG."""
    tree = xml.parse(path)
    return " ".join("".join(text.itertext()) for text in tree.iter(f"{SVG}text"))


def test_thirteen_of_each():
    assert [(one.kind, one.number) for one in registry.items()] == [
        (kind, number) for number in range(1, 14) for kind in ("figure", "table")
    ]
    assert all(one.records or one.code for one in registry.items())


def test_all_their_runs_are_recorded():
    assert check(registry.items()) == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_figure_is_empty_and_its_text_is_text(lecture, language):
    for number in range(1, 14):
        stem = lecture.folder / "figures" / f"fig{number:02d}{suffix(language)}"
        assert len(words(stem.with_name(stem.name + ".svg"))) > 40, number
        assert (lecture.folder / "figures" / f"{stem.name}.png").stat().st_size > 4000
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in words(path)) for path in drawings(lecture, language)]
    assert all(chinese) if language == "zh" else not any(chinese)


def drawings(lecture, language):
    return [lecture.folder / "figures" / f"fig{number:02d}{suffix(language)}.svg" for number in range(1, 14)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_table_is_empty(lecture, language):
    for number in range(1, 14):
        found = rows(lecture, number, language)
        assert len(found) >= 3 and all(any(row.values()) for row in found), number
        text = (lecture.folder / "tables" / f"table{number:02d}{suffix(language)}.md").read_text()
        assert text.count("\n") == len(found) + 2


def test_languages_say_the_same_numbers(lecture):
    for number in range(1, 14):
        both = [rows(lecture, number, language) for language in LANGUAGES]
        for one, other in zip(*both, strict=True):
            for cell, translated in zip(one.values(), other.values(), strict=True):
                assert cell == translated or not cell.replace(".", "").replace("-", "").isdigit(), number


def test_numbers_are_those_of_the_records(lecture):
    """Of each table that shows an example's runs, every number stands in its record, digit for digit."""
    for number, task, cells in (
        (1, "package_summaries", ["value", "ms a sentence", "sentences / s"]),
        (2, "translation", ["quality", "passes", "ms a sentence", "sentences / s"]),
        (8, "question_answering", ["AR, greedy", "NAR", "AR: ms", "NAR: ms"]),
        (12, "classification", ["accuracy (%)", "ms a text"]),
        (13, "long_texts", ["ROUGE-L", "BLEU", "distinct-2", "passes"]),
    ):
        known = {str(value) for run in lecture.records[f"{task}.json"]["runs"] for value in
                 (*run["scores"].values(), *run["speed"].values())}  # fmt: skip
        told = [row for row in rows(lecture, number) if task_of(row, task)]
        shown = {row[cell] for row in told for cell in cells if row[cell]}
        assert len(shown) >= 4, (number, shown)
        assert shown <= known, (number, shown - known)


def task_of(row: dict, task: str) -> bool:
    names = {"package_summaries": "summaries of packages", "translation": "translation, English to German",
             "question_answering": "question answering"}  # fmt: skip
    if "classifier" in row:
        return "linear" not in row["classifier"]  # whose numbers its details hold
    return task not in names or names[task] in (row.get("data"), row.get("task"))


def test_a_changed_number_moves_its_figure_and_tables(recorded, monkeypatch, some_recorded):
    file = some_recorded / "question_answering.json"
    content = json.loads(file.read_text())
    draw = item("table", 8).draw
    before = draw(Found(item("table", 8).records), say_in("en"))
    next(run for run in content["runs"] if run["mode"] == "all, nar")["scores"][JUDGED["question_answering"]] = 12.5
    file.write_text(json.dumps(content))
    after = draw(Found(item("table", 8).records), say_in("en"))
    changed = [row["NAR"] for row, other in zip(after, before) if row != other]
    assert changed == [12.5]


def test_a_missing_run_is_an_error_that_names_its_command(some_recorded, tmp_path, capsys):
    (some_recorded / "long_texts.json").unlink()
    (some_recorded / "lecture" / "traces.json").unlink()
    with pytest.raises(SystemExit) as ended:
        command.main(["--output", str(tmp_path / "out")])
    told = str(ended.value)
    assert "python -m examples.lecture --fresh" in told and "--missing-ok" in told
    assert "long_texts.json (table 8, figure 9, table 9" in told and "python -m examples.long_texts $step" in told
    assert not (tmp_path / "out" / "index.html").exists()


def test_what_is_missing_is_listed_if_that_is_ok(from_npm, some_recorded, tmp_path, capsys):
    for name in ("long_texts.json", "lecture/discussion.json"):
        (some_recorded / name).unlink()
    command.main(["--output", str(tmp_path), "--missing-ok"])
    page = (tmp_path / "index.html").read_text()
    assert 'id="missing"' in page and "examples.long_texts $step" in page and 'id="discussion1"' not in page
    assert "table 13" in capsys.readouterr().out and not (tmp_path / "tables" / "table13.md").exists()
    assert (tmp_path / "tables" / "table12.md").exists() and not (tmp_path / "discussion.md").exists()


def test_only_declared_records_are_read(recorded):
    found = Found(("demo",))
    assert found["demo"][0]["decoding"] == "AR, beam 4" and list(found) == ["demo"]
    with pytest.raises(KeyError, match="translation is not declared"):
        found["translation"]
    for one in registry.items():
        assert set(one.records) <= set(records.RECORDS), one.name
        assert all((records.ROOT / path).exists() for path in one.code), one.name


def test_everything_tells_where_it_comes_from(recorded):
    for one in registry.items():
        found = records.origins(one.records, one.code)
        assert len(found) == len(one.records) + len(one.code)
        for origin in found:
            assert origin.path and origin.command and all(origin.data) and origin.seed and origin.date > "2020"
    dial = records.origin("dial spelling")
    assert dial.command.startswith("python -m scripts.dial measure demo/checkpoint_last.pt")
    assert records.origin("trials spelling").seed == "1, 2"
    assert records.origin("translation").date == "2026-11-30"


def test_no_npm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(packages.BangError, match=r"reveal.js@.* is not in .*, and there is no npm .*install"):
        packages.fetched(packages.REVEAL)
    (tmp_path / "npm").write_text("#!/bin/sh\necho no network >&2; exit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(packages.BangError, match=r"npm could not fetch it \(no network\)"):
        packages.fetched(packages.REVEAL)


def test_chains_of_the_idea_are_those_of_the_streams():
    found = {name: idea.chains(streams) for name, streams in idea.settings().items()}
    assert found["AR"] == [(list(range(n + 1)), [n + 1]) for n in range(6)]
    assert found["semi-NAR"] == [([0], [1, 2, 3]), ([0, 1, 2, 3], [4, 5, 6])]
    assert found["NAR"] == [([], [1, 2, 3, 4, 5, 6])]


def test_a_sample_is_one_of_pretraining():
    source, target, places = training.sample()
    assert "[MASK]" in source and len(source) == training.TOKENS
    assert len(target) == len(places) and places == sorted(places)
    assert all(source[place] != word or source.count(word) == 1 for place, word in zip(places, target))


def test_a_gap_is_closed_by_its_share():
    gain = trade.Gain("candidates", before=50, after=45, ar=40, evidence="", more=False)
    assert gain.closed == 50 and trade.Gain("none", 5, 5, 5, "").closed is None
    assert trade.Gain("ahead", 19.2, 20.8, 19.1, "").closed is None
    say = say_in("en")
    assert trade.worth(99, 1.2, say).startswith("no: less than 1.5") and trade.worth(80, 4, say).startswith("no: keeps")
    assert trade.worth(95, 4, say) == "yes"


def test_pretraining_is_compared_with_the_training_from_scratch(some_recorded):
    one = item("figure", 10)
    gains = {gain.name: gain for gain in trade.gains_of(Found(one.records), say_in("en"))}
    assert {
        "pretraining: tenth",
        "pretraining: nar-half",
    } <= gains.keys() and "pretraining: scratch-ar-first" not in gains
    kept = [json.loads(file.read_text())["scores"] for file in some_recorded.glob("trials/pretraining/scratch-s*.json")]
    assert gains["pretraining: tenth"].before == fmean(scores["NAR"]["rouge155_l"] for scores in kept)
    for file in some_recorded.glob("trials/pretraining/scratch-s*.json"):
        file.unlink()
    with pytest.raises(packages.BangError, match="trials/pretraining: no training named scratch, but"):
        trade.gains_of(Found(one.records), say_in("en"))


def test_a_record_without_samples_names_what_makes_them(some_recorded):
    file = some_recorded / "long_texts.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "samples": []}))
    steps = "python -m examples.long_texts score && python -m scripts.doc_tables --record outputs/long_texts"
    with pytest.raises(packages.BangError, match=f"long_texts.json has no samples: {steps}"):
        item("figure", 13).draw(Found(item("figure", 13).records), say_in("en"))


def test_both_languages_are_complete():
    english, chinese = (texts(language) for language in LANGUAGES)
    assert english.keys() - {"references"} == chinese.keys()
    for kind in (*registry.KINDS, "discussion"):
        assert english[kind].keys() == chinese[kind].keys()
        for number, told in english[kind].items():
            assert told.keys() == chinese[kind][number].keys() and all(chinese[kind][number].values())
            assert len(told.get("points", "")) == len(chinese[kind][number].get("points", ""))
    assert len(english["discussion"]) == 6
    right = "Qi et al., ICML 2021, arXiv 2012.15525"
    assert right in english["correction"] and "2012.15525" in chinese["correction"]
    for name in ("Weizhen Qi", "Vaswani", "Devlin", "Radford"):
        assert any(name in reference for reference in english["references"])


def test_the_field_is_in_known_kinds_and_order():
    assert {entry.kind for entry in FIELD} == set(KINDS)
    assert [entry.year for entry in FIELD] == sorted(entry.year for entry in FIELD)
    assert all(entry.speed or not entry.second_hand for entry in FIELD)
