"""The pretraining example from text to comparison, in its smallest form."""

import json
import logging
import shutil

import numpy as np
import pytest

from examples import pretraining
from examples.pretraining import curves, data, main

from .conftest import in_process

TINY = ["--max-update", "4", "--total-num-update", "4", "--validate-interval-updates", "2", "--num-workers", "0"]
TINY += ["--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16", "--lr", "0.01"]
TINY += ["--ar-updates", "1"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of text and one of pairs, of the same few words."""
    folder = tmp_path_factory.mktemp("pretraining")
    random = np.random.default_rng(0)
    words = ["the", "cat", "dog", "sees", "hears", "a", "bird", "and", "runs", "home"]

    def sentence(length):
        return " ".join(random.choice(words, length))

    (folder / "text").mkdir()
    for k in range(60):
        lines = [sentence(20) for _ in range(4)]
        (folder / "text" / f"{k}.txt").write_text("\n\n".join(lines) + "\n")
    (folder / "pairs").mkdir()
    for part, size in (("train", 40), ("dev", 70), ("test", 6)):
        for side, length in (("src", 80 if part == "train" else 8), ("tgt", 4)):
            (folder / "pairs" / f"{part}.{side}").write_text("".join(sentence(length) + "\n" for _ in range(size)))
    return folder


def run(step, source, work, *options):
    main([step, "--work", str(work), "--text", str(source / "text"), "--pairs", str(source / "pairs"), *options])


@pytest.fixture
def own_logs(monkeypatch):
    """Commands in this process, each of which logs to its own file only."""

    def command(*arguments, **options):
        try:
            in_process(*arguments, **options)
        finally:
            for logger in map(logging.getLogger, ("fairseq_cli.train", "fairseq.logging.progress_bar")):
                for handler in list(logger.handlers):
                    logger.removeHandler(handler)

    monkeypatch.setattr(pretraining, "fairseq", command)


def test_from_text_to_comparison(source, tmp_path, capfd, fast, own_logs):
    run("prepare", source, tmp_path, "--pieces", "28", "--most", "60")
    assert len((tmp_path / "raw" / "dev.src").read_text().splitlines()) == 60
    # descriptions are cut as those of package_summaries are
    assert max(len(line.split()) for line in (tmp_path / "pieces" / "train.src").read_text().splitlines()) <= 63
    run("train", source, tmp_path, "--", *TINY)
    logs = [curves.validations(tmp_path / "models" / name / "log.json") for name in ("from scratch", "pretrained")]
    updates = [[row["valid_num_updates"] for row in log] for log in logs]
    assert updates[0] == updates[1] == sorted(set(updates[0])) and updates[0][-1] == 4
    assert logs[0][-1]["valid_ar_nll"] != logs[1][-1]["valid_ar_nll"]
    run("generate", source, tmp_path, "--", "--num-workers", "0")
    run("score", source, tmp_path)
    rows = json.loads((tmp_path / "scores.json").read_text())
    runs = [(row["model"], row["decoding"]) for row in rows]
    assert runs == [(m, d) for m in ("from scratch", "pretrained") for d in ("ar", "semi_nar", "nar")]
    assert (tmp_path / "curves.png").stat().st_size > 5000
    # and a second time nothing is done again
    capfd.readouterr()
    run("train", source, tmp_path, "--", *TINY)
    assert capfd.readouterr().out.splitlines() == [
        "train pretraining: done before",
        "train from scratch: done before",
        "train pretrained: done before",
    ]


def test_by_default_descriptions_without_those_of_the_test_set(lists, tmp_path, monkeypatch):
    """Which are what a summary of `package_summaries` is written from."""
    monkeypatch.setattr(
        data.descriptions, "fetch", lambda folder, languages: shutil.copytree(lists, folder, dirs_exist_ok=True)
    )
    data.write(tmp_path, None, None, None)
    text = {part: (tmp_path / f"text.{part}").read_text().split("\n\n")[:-1] for part in ("train", "valid")}
    sources = {part: (tmp_path / f"{part}.src").read_text().splitlines() for part in ("train", "dev", "test")}
    assert [document.replace("\n", " ") for document in text["valid"]] != []
    assert {document.replace("\n", " ") for document in text["train"]} == set(sources["train"])
    assert {document.replace("\n", " ") for document in text["valid"]} == set(sources["dev"])
    assert len(sources["test"]) > 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["prepare", "--text", "{}/none"], "--text .*none: no such folder"),
        (["prepare", "--text", "{}", "--pairs", "{}"], "no text to pretrain on"),
        (["prepare", "--text", "{}/text", "--pairs", "{}"], "no train.src"),
        (["train"], "'binarise' was not finished yet, run prepare first"),
        (["generate"], "'train from scratch' was not finished yet, run train first"),
    ],
)
def test_bad_input(tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        (tmp_path / "text").mkdir()
        (tmp_path / "text" / "1.txt").write_text("A line.\n" if "/text" in str(arguments) else "")
        main([argument.format(tmp_path) for argument in arguments] + ["--work", str(tmp_path / "work")])
