"""Package lists become pairs: one-line summaries, and translations."""

import gzip
import json
import lzma
import re
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from examples import descriptions, long_texts, package_summaries, question_answering, translation
from examples.question_answering.passages import packages
from examples.workspace import Workspace, read_lines, write_lines
from scripts.results import Run

from .conftest import ENGLISH, LISTS, NAMES, SMALL
from .test_examples import modes, run


def pairs(folder):
    parts = {}
    for part in ("train", "dev", "test"):
        sides = [(folder / f"{part}.{side}").read_text().splitlines() for side in ("src", "tgt")]
        parts[part] = list(zip(*sides, strict=True))
    return parts


def test_a_synopsis_from_the_whole_description(lists, tmp_path):
    package_summaries.RAW(lists, tmp_path, None)
    parts = pairs(tmp_path)
    text = "The am is made of two lines: GNU's. It has a list: one am thing that goes on another"
    assert (text, "the am of all tools") in sum(parts.values(), [])
    assert sum(map(len, parts.values())) == len(NAMES) and min(map(len, parts.values())) > 0
    package_summaries.RAW(lists, tmp_path, 3)
    assert {part: chosen[:3] for part, chosen in parts.items()} == pairs(tmp_path)


def test_packages_of_one_source_lie_on_one_side(lists, tmp_path, capsys):
    def parted():
        side = {target.split()[1]: part for part, chosen in pairs(tmp_path).items() for _, target in chosen}
        return [first for first, second in zip(NAMES[::2], NAMES[1::2]) if side[first] != side[second]]

    package_summaries.RAW(lists, tmp_path, None)
    assert parted() == [] and capsys.readouterr().out == ""
    (lists / f"{LISTS}_binary-amd64_Packages").unlink()
    package_summaries.RAW(lists, tmp_path, None)
    assert parted() and "siblings are told by the packages' names" in capsys.readouterr().out


def test_versions_of_a_source_are_one():
    names = ["gcc-12-cross", "gcc-11", "gcc", "boost1.81", "7zip", "libx11"]
    assert [descriptions.family(name) for name in names] == ["gcc", "gcc", "gcc", "boost", "7zip", "libx"]


def test_what_stood_before_is_left_out(tmp_path):
    rows = [("a", ("x", "y")), ("b", ("x", "z")), ("c", ("w", "y")), ("d", ("", "v")), ("e", ("same", "same"))]
    descriptions.split(tmp_path, rows, None)
    assert sum(pairs(tmp_path).values(), []) == [("x", "y")]


def test_paragraphs_and_items_are_translated_where_their_number_agrees(lists, tmp_path):
    translation.RAW(lists, tmp_path, None)
    found = sum(pairs(tmp_path).values(), [])
    assert ("The am is made of two lines: GNU's.", "Der am hat eine Zeile.") in found
    assert ("one am thing that goes on", "ein Ding wie am") in found
    assert len([1 for source, _ in found if source == "another"]) == 1
    assert ("the bm of all tools", "das Werkzeug bm") in found  # its list is longer in German
    assert not any("bm" in source and "is made of" in source for source, _ in found)


def test_long_paragraphs_are_not_translated(lists, tmp_path, monkeypatch):
    monkeypatch.setattr(translation, "LONGEST", 6)
    translation.RAW(lists, tmp_path, None)
    found = sum(pairs(tmp_path).values(), [])
    assert ("one am thing that goes on", "ein Ding wie am") in found
    assert not any("is made of" in source for source, _ in found)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".lz4"])
def test_packed_lists(lists, tmp_path, monkeypatch, suffix):
    file = lists / f"{LISTS}_i18n_Translation-en"
    content, packed = file.read_bytes(), file.with_name(file.name + suffix)
    file.unlink()
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(suffix, lambda data: b"packed")
    packed.write_bytes(pack(content))
    if suffix == ".lz4":  # for which apt's own helper is asked
        helper = tmp_path / "helper"
        helper.write_text(f"#!/bin/sh\ntest $1 = cat-file && cat {tmp_path}/content\n")
        helper.chmod(0o755)
        (tmp_path / "content").write_bytes(content)
        monkeypatch.setattr(descriptions, "APT_HELPER", helper)
    assert len(descriptions.read(lists)) == len(NAMES)
    packed.write_bytes(b"damaged" if suffix == ".lz4" else pack(content)[:40])
    monkeypatch.setattr(descriptions, "APT_HELPER", tmp_path / "none")
    with pytest.raises(SystemExit, match=f"error: .*Translation-en{suffix}: [^\n]*$"):
        run(package_summaries, tmp_path / "work", "prepare", "--data", lists)


def test_suites_that_change_from_day_to_day_are_left_out(lists):
    (lists / "deb_dists_here-security_main_i18n_Translation-en").write_text(ENGLISH.format(name="new"))
    (lists / f"{LISTS}_i18n_Translation-en_GB").write_text(ENGLISH.format(name="other"))
    assert len(descriptions.read(lists)) == len(NAMES)


@pytest.mark.parametrize(
    "content, message", [(None, "no \\*_i18n_Translation-en"), ("", "no .*"), ("A: b\n", "no package")]
)
def test_folders_without_descriptions(tmp_path, content, message):
    lists = tmp_path / "lists"
    lists.mkdir()
    if content is not None:
        (lists / f"{LISTS}_i18n_Translation-en").write_text(content)
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        run(package_summaries, tmp_path / "work", "prepare", "--data", lists)
    assert not (tmp_path / "work" / "raw").exists()


def apt(monkeypatch, lists, stderr="", asked=None):
    def run(command, **options):
        options_ = dict(part.split("=", 1) for part in command if "=" in part)
        folder = options_["Dir::State::lists"]
        (asked if asked is not None else {}).update(options_, command=command[-1])
        for file in lists.iterdir() if lists else []:
            shutil.copy(file, folder)
        return SimpleNamespace(returncode=0, stderr=stderr)

    monkeypatch.setattr(descriptions, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


def test_apt_fetches_into_a_folder_of_its_own(lists, tmp_path, monkeypatch):
    asked = {}
    apt(monkeypatch, lists, asked=asked)
    translation.SOURCE(tmp_path, None)
    assert sum(map(len, pairs(tmp_path).values())) > 24
    assert asked["Acquire::Languages"] == "en,de" and asked["command"] == "update"
    assert asked["Dir::State::lists"] == asked["Dir::Cache"] and not asked["Dir::Cache"].startswith("/var")


def test_no_apt_no_network_and_empty_lists_are_one_line(lists, tmp_path, monkeypatch):
    prepare = [package_summaries, tmp_path / "work", "prepare"]
    apt(monkeypatch, None, "W: Failed to fetch this\nE: and that\n")
    with pytest.raises(
        SystemExit, match=r"no Translation-en \(W: Failed to fetch this\): give --data FOLDER .*src,tgt}$"
    ):
        run(*prepare)
    (lists / f"{LISTS}_i18n_Translation-en").write_text("")
    apt(monkeypatch, lists)
    with pytest.raises(SystemExit, match=r"no Translation-en \(it has no such list\): give"):
        run(*prepare)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="no apt-get here, .*: give --data FOLDER"):
        run(*prepare)
    assert not (tmp_path / "work" / "raw").exists()


def test_the_real_apt_helper_is_asked_by_its_name():
    if not descriptions.APT_HELPER.exists():
        pytest.skip("not a Debian system")
    said = subprocess.run([descriptions.APT_HELPER, "--help"], capture_output=True, text=True).stdout
    assert "cat-file" in said


def test_another_corpus_by_its_name(tmp_path, monkeypatch):
    def source(folder, most):
        for part in ("train", "dev", "test"):
            for side in ("src", "tgt"):
                (folder / f"{part}.{side}").write_text("a b c d e f g h i j k l m n o p q r s t u v w x y z\n" * 20)

    monkeypatch.setitem(translation.RECIPE.corpora, "multi30k", source)
    with pytest.raises(SystemExit, match="give either --data or --corpus"):
        run(translation, tmp_path, "prepare", "--corpus", "multi30k", "--data", tmp_path)
    monkeypatch.setattr("examples.prepare.split", lambda *_: None)
    monkeypatch.setattr("examples.prepare.binarise", lambda *_: None)
    run(translation, tmp_path, "prepare", "--corpus", "multi30k")
    assert len((tmp_path / "raw" / "test.src").read_text().splitlines()) == 20
    with pytest.raises(SystemExit, match="text was done with --corpus multi30k, not None"):
        run(translation, tmp_path, "prepare")


def test_all_steps(fast, lists, tmp_path):
    work = tmp_path / "work"
    run(package_summaries, work, "prepare", "--data", lists, "--pieces", 60)
    small = ["--gpus", 0, "--updates", 2]
    run(package_summaries, work, "train", *small, "--mode", "nar", "--", *SMALL)
    run(package_summaries, work, "generate", "--gpus", 0)
    run(package_summaries, work, "score")
    results = json.loads((work / "scores.json").read_text())
    assert modes(results) == ["lead, lead", "nar, nar"]
    assert set(results[1]["scores"]) == {"rouge155_1", "rouge155_2", "rouge155_l"}


PACKAGE = """\
Package: {name}
Source: src{name} (1.0)
Version: 1.{name}-2
Section: {section}
Maintainer: {name} People <people@example.org>
{page}Description-md5: {name}-sum

"""


@pytest.fixture
def package_lists(lists):
    """The same with what else a list of packages tells; every third has no homepage."""
    records = (
        PACKAGE.format(
            name=name, section=("admin", "contrib/net")[k % 2], page=f"Homepage: https://{name}\n" * (k % 3 > 0)
        )
        for k, name in enumerate(NAMES)
    )
    (lists / f"{LISTS}_binary-amd64_Packages").write_text("".join(records))
    return lists


def test_answers_stand_in_passages_on_two_packages(package_lists, tmp_path):
    question_answering.RAW(package_lists, tmp_path, None)
    found = sum(pairs(tmp_path).values(), [])
    assert len(found) == len(NAMES) - 3  # the first of each part has none before it
    assert {target for _, target in found} >= {"admin", "net"}  # answers repeat
    for source, answer in found:
        question, passage = source.split(" [SEP] ")
        assert answer in passage and question.endswith("?") and passage.count(" is the ") == 2
    kinds = {source.split()[0] + source.split()[1] for source, _ in found}
    assert {"whatis", "whichpackage", "inwhich", "whichversion", "whomaintains", "whereis"} == kinds
    net = next(package for package in packages(package_lists) if package.name == NAMES[1])
    assert (net.section, net.maintainer, net.homepage) == ("net", f"{NAMES[1]} People", f"https://{NAMES[1]}")
    (package_lists / f"{LISTS}_binary-amd64_Packages").unlink()
    with pytest.raises(SystemExit, match=r"error: .*: no \*_Packages"):
        run(question_answering, tmp_path / "work", "prepare", "--data", package_lists)


def test_passages_are_not_shared_by_parts(package_lists, tmp_path):
    question_answering.RAW(package_lists, tmp_path, None)
    named = {
        part: {name for source, _ in chosen for name in re.findall(r"(\w+) is the \1 of", source)}
        for part, chosen in pairs(tmp_path).items()
    }
    assert not named["train"] & (named["dev"] | named["test"]) and not named["dev"] & named["test"]


LONG = """\
Package: {name}
Description-md5: {name}-sum
Description-en: the {name} of all tools
 {name} is the first sentence. {rest}

"""


def test_long_texts_follow_their_first_sentence(tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    lengths = {name: 58 + 4 * k % 80 for k, name in enumerate(NAMES)}
    text = "".join(
        LONG.format(name=n, rest=" ".join(["Then", *[f"{n}w"] * (length - 1)])) for n, length in lengths.items()
    )
    (folder / f"{LISTS}_i18n_Translation-en").write_text(text)
    long_texts.RAW(folder, tmp_path, None)
    found = sum(pairs(tmp_path).values(), [])
    name = next(name for name, length in lengths.items() if 60 <= length <= 120)
    assert f"the {name} of all tools: {name} is the first sentence." in {source for source, _ in found}
    assert found and all(60 <= len(target.split()) <= 120 for _, target in found)
    assert len(found) == sum(60 <= length <= 120 for length in lengths.values())


def test_long_texts_are_judged_by_length_too(tmp_path, capsys):
    work = Workspace(tmp_path)
    expected = ["a " * 70, "b " * 70, "c " * 110]
    write_lines(work.raw / "test.tgt", (text.strip() for text in expected))
    write_lines(work.outputs / "all" / "nar.txt", ["a " * 70 + "x", "y z", "c c d"])
    found = long_texts.report(work, [Run("all, nar")])
    assert [group["words"] for group in found["by_length"]] == ["60–79", "100–110"]
    assert found["by_length"][0]["sentences"] == 2 and found["by_length"][0]["runs"]["all, nar"] == pytest.approx(
        49.6, abs=0.1
    )
    assert found["repetition"]["all, nar"] == pytest.approx(100 * 70 / 76) and found["words"]["all, nar"] == 76 / 3
    assert "repeated neighbours (%)" in (tmp_path / "lengths.md").read_text()


@pytest.mark.parametrize("module", [question_answering, long_texts], ids=lambda module: module.RECIPE.name)
def test_questions_and_long_texts_go_the_usual_four_steps(fast, data, tmp_path, module):
    work = tmp_path / "work"
    if module is long_texts:
        for part, size in (("train", 60), ("dev", 8), ("test", 10)):
            write_lines(data / f"{part}.tgt", [f"{k} " + "ba be " * (30 + k % 9) for k in range(size)])
    run(module, work, "prepare", "--data", data, "--pieces", 60)
    small = [*SMALL, "--max-target-positions", 100]
    run(module, work, "train", "--gpus", 0, "--updates", 1, "--mode", "nar", "--", *small)
    run(module, work, "generate", "--gpus", 0)
    run(module, work, "score")
    (row,) = json.loads((work / "scores.json").read_text())
    assert row["mode"] == "nar, nar" and set(row["scores"]) == set(sum(module.RECIPE.metrics.values(), ()))
    details = json.loads((work / "details.json").read_text())
    assert details["date"] > "2026" and details["machine"]["torch"]
    assert details["sentences"] == len(details["samples"]) == 10
    first = details["samples"][0]
    assert first["source"] == read_lines(work / "raw" / "test.src")[0] and set(first["outputs"]) == {"nar, nar"}
    assert (details["report"] is None) == (module is question_answering)
