"""What examples are made of: sources, options, and what a user's mistakes look like."""

import logging
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import data_utils

from bang_plugin.errors import BangError
from examples import driver, prepare, pretraining, question_generation, summarization, translation
from examples import workspace as module
from examples.classification import docstrings
from examples.long_documents import measure
from examples.long_documents.plot import plot_costs
from examples.score import samples
from examples.train import shared_batch, training_options

from .test_examples import PAPER, run


@pytest.mark.parametrize("main", [partial(driver.main, translation.RECIPE), pretraining.main])
def test_steps_print_no_debug_lines_of_other_libraries(tmp_path, monkeypatch, main):
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)  # as importing fairseq leaves it
    with pytest.raises(SystemExit, match="error: "):
        main(["score", "--work", str(tmp_path)])
    assert logging.getLogger().level == logging.INFO


def test_hub_is_named_in_one_line_where_it_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SystemExit, match="lmqg/qg_squad .*pip install datasets, or give --data"):
        run(question_generation, tmp_path / "work", "prepare", "--pieces", 60)

    def load_dataset(name, split):
        raise ConnectionError(f"no way to {name}\nat all")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(SystemExit, match=r"xsum could not be fetched \(no way to EdinburghNLP/xsum\); give --data"):
        run(summarization, tmp_path / "work", "prepare", "--pieces", 60)
    assert not (tmp_path / "work" / "raw").exists()


RECORDS = {
    "question_generation": [{"answer": "an  answer", "paragraph": "a\npassage", "question": "what?"}],
    "summarization": [{"document": "an\narticle", "summary": "so"}],
    "dialogue": [
        {
            "personality": ["i sing .", "i dance ."],
            "utterances": [
                {"history": ["hi"], "candidates": ["no", "hello"]},
                {"history": ["hi", "hello", "who ?"], "candidates": ["me"]},
            ],
        }
    ],
    "translation": [{"en": "a dog", "de": "ein Hund"}],
}
PAIRS = {
    "question_generation": [("an answer [SEP] a passage", "what?")],
    "summarization": [("an article", "so")],
    "dialogue": [
        ("i sing . i dance . [SEP] hi", "hello"),
        ("i sing . i dance . [SEP] hi [SEP] hello [SEP] who ?", "me"),
    ],
    "translation": [("a dog", "ein Hund")],
}


FETCHED = [module for module in (*PAPER, translation) if module.RECIPE.name in RECORDS]


@pytest.mark.parametrize("module", FETCHED, ids=lambda module: module.RECIPE.name)
def test_hub_records_become_pairs(tmp_path, monkeypatch, module):
    name, asked = module.RECIPE.name, []

    def load_dataset(dataset, split):
        asked.append(split)
        return RECORDS[name] * 3

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    source = module.MULTI30K if module is translation else module.RECIPE.source
    source(tmp_path, 2)
    assert len(set(asked)) == 3
    for part in ("train", "dev", "test"):
        lines = [(tmp_path / f"{part}.{side}").read_text().splitlines() for side in ("src", "tgt")]
        assert list(zip(*lines)) == (PAIRS[name] * 3)[:2]


def test_docstrings(tmp_path, monkeypatch):
    prose = "A sentence about {name} that goes on for quite some words, number {k}."
    for name in ("firstpackage", "secondpackage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('"""Too short."""\n')
        functions = [f'def f{k}():\n    """{prose.format(name=name, k=name[0] + str(k))}"""\n' for k in range(40)]
        shared = 'def shared():\n    """This very sentence stands in more than one of the packages."""\n'
        (tmp_path / name / "code.py").write_text("\n".join([*functions, shared]))
        (tmp_path / name / "broken.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(docstrings, "PACKAGES", ("firstpackage", "secondpackage"))
    monkeypatch.setattr(docstrings, "NAMES", re.compile("firstpackage|secondpackage"))
    docstrings.write(tmp_path, None)
    counts = {part: len((tmp_path / f"{part}.src").read_text().splitlines()) for part in ("train", "dev", "test")}
    assert counts == {"train": 66, "dev": 6, "test": 8}
    text = "".join((tmp_path / f"{part}.src").read_text() for part in counts)
    assert "package" not in text and "very sentence" not in text and "Too short" not in text
    monkeypatch.setattr(docstrings, "PACKAGES", ("firstpackage", "nosuchpackage"))
    with pytest.raises(BangError, match="pip install nosuchpackage"):
        docstrings.write(tmp_path, None)


@pytest.mark.parametrize(
    "options, message",
    [
        (["prepare"], "give --vocab FILE"),
        (["prepare", "--vocab", "v", "--pieces", 9], "give either"),
        (["prepare", "--pieces", 9, "--data", "nowhere"], "nowhere: no train.src"),
        (["train"], "'binarise' was not finished yet, run prepare"),
        (["generate"], "run prepare first"),
        (["score"], "run generate first"),
    ],
)
def test_mistakes_are_one_line(tmp_path, options, message):
    with pytest.raises(SystemExit, match=f"error: .*{message}") as stopped:
        run(question_generation, tmp_path / "work", *options)
    assert "\n" not in str(stopped.value)


def test_sides_that_do_not_match(data, tmp_path):
    (data / "dev.tgt").write_text("one\n")
    with pytest.raises(SystemExit, match="dev.src has 8 lines and dev.tgt 1"):
        run(translation, tmp_path / "work", "prepare", "--data", data)


def test_options_reach_fairseq():
    recipe = question_generation.RECIPE

    def options(*argv):
        return " ".join(training_options(recipe, "nar", driver.parse(recipe, ["train", *argv])))

    published = options("--gpus", "8")
    assert "--max-epoch 50" in published and "--update-freq 1 " in f"{published} " and "--lr 0.0001" in published
    assert "--update-freq 4" in options("--gpus", "2")
    assert "--load-from-pretrained-model /somewhere/model.pt" in options("--pretrained", "/somewhere/model.pt")
    trial = options("--updates", "7", "--", "--lr", "1")
    assert "--max-update 7" in trial and "--max-epoch" not in trial and trial.endswith("--lr 1")


@pytest.mark.parametrize("module", [*PAPER, translation], ids=lambda module: module.RECIPE.name)
def test_one_checkpoint_for_all_begins_with_ar(module):
    def ar_updates(mode, *argv):
        given = training_options(module.RECIPE, mode, driver.parse(module.RECIPE, ["train", *argv]))
        return int(given[given.index("--ar-updates") + 1]) if "--ar-updates" in given else None

    assert ar_updates("all", "--gpus", "1") >= 1000
    assert ar_updates("all", "--gpus", "1", "--updates", "500") == 300  # a trial has both phases too
    assert ar_updates("ar") is None and ar_updates("nar", "--updates", "500") is None


@pytest.mark.parametrize("gpus", [0, 1, 2, 3, 5, 6, 7, 8, 16, 48])
def test_any_number_of_gpus_shares_the_same_batch(gpus):
    recipe = question_generation.RECIPE
    share = shared_batch(recipe.training, recipe.processes, gpus)
    tokens = share["--max-tokens"] * share["--update-freq"] * max(1, gpus)
    assert tokens == pytest.approx(3072 * 8, rel=0.002)
    assert 512 <= share["--max-tokens"] <= 3072  # what fits on a GPU, and holds the longest sentence
    if 8 % max(1, gpus) == 0:
        assert share == {"--update-freq": 8 // max(1, gpus), "--max-tokens": 3072}


def test_batches_that_so_many_gpus_cannot_share():
    with pytest.raises(BangError, match="--gpus 64: the settings' batch per update .* take 48$"):
        shared_batch(question_generation.RECIPE.training, 8, 64)
    sentences = {"--max-tokens": 8000, "--batch-size": 8, "--max-source-positions": 1000}
    assert shared_batch(sentences, 1, 4) == {"--update-freq": 1, "--max-tokens": 2000, "--batch-size": 2}
    with pytest.raises(BangError, match="--gpus 3: .* take 2$"):
        shared_batch(sentences, 1, 3)
    assert shared_batch(sentences, 1, 1) == {}


def test_a_process_per_gpu_and_its_failure(monkeypatch, tmp_path):
    started = {}

    def process(command, stdout, env):
        started.update(command=command, visible=env.get("CUDA_VISIBLE_DEVICES"))
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(module.subprocess, "run", process)
    with pytest.raises(BangError, match="fairseq-train failed"):
        module.fairseq("train", "data", "x", "y", gpus=4)
    launcher = started["command"][started["command"].index("torch.distributed.run") :]
    assert launcher[1:5] == ["--nproc_per_node", "4", "-m", "fairseq_cli.train"]


def test_real_process_fails_in_one_line(tmp_path, capfd):
    with pytest.raises(BangError, match="fairseq-generate failed"):
        module.fairseq("generate", tmp_path, "--task", "bang", "--path", "none", "--cpu", output=tmp_path / "log")
    assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "log").exists()


def test_workers_binarise(fast, data, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(prepare, "fairseq", lambda *arguments: asked.extend(arguments) or arguments[-3].mkdir())
    run(translation, tmp_path / "work", "prepare", "--data", data, "--pieces", 60, "--workers", 7)
    assert asked[asked.index("--workers") + 1] == 7


def encoders(chunk: int):
    """The whole encoder and the chunked one, with the same parameters."""
    whole, chunked = measure.build(16, "whole").eval(), measure.build(16, "chunks", source_chunk=chunk).eval()
    state = whole.encoder.state_dict()
    state["embed_positions.weight"] = state["embed_positions.weight"][: len(chunked.encoder.embed_positions.weight)]
    chunked.encoder.load_state_dict(state)
    return whole.encoder, chunked.encoder


def test_chunks_of_the_whole_length_change_nothing():
    whole, chunked = encoders(16)
    tokens = torch.randint(4, 1000, (2, 16))
    torch.testing.assert_close(chunked(tokens)["encoder_out"][0], whole(tokens)["encoder_out"][0])


def test_every_chunk_is_read_as_if_it_were_alone_however_a_batch_is_padded():
    whole, chunked = encoders(8)
    assert chunked.max_positions() == 16 and len(chunked.embed_positions.weight) < len(whole.embed_positions.weight)
    sources = [torch.randint(4, 1000, (length,)) for length in (15, 11, 6)]
    for left in (True, False):
        out = chunked(data_utils.collate_tokens(sources, whole.padding_idx, left_pad=left))
        memory, padding = out["encoder_out"][0].transpose(0, 1), out["encoder_padding_mask"][0]
        assert padding.shape == memory.shape[:2] == (3, 16) and (~padding).sum(1).tolist() == [15, 11, 6]
        for source, row in zip(sources, memory):
            for start in range(0, len(source), 8):
                alone = whole(source[None, start : start + 8])["encoder_out"][0][:, 0]
                torch.testing.assert_close(row[start : start + len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_costs_are_measured_and_plotted(tmp_path):
    rows = [measure.measure(length, encoder, 1, 1) for encoder in ("whole", "chunks") for length in (512, 1024)]
    assert [row["length"] for row in rows] == [512, 1024, 512, 1024]
    assert all(row["seconds"] > 0 for row in rows)
    plot_costs([{**row, "memory (MB)": 1 + row["memory (MB)"]} for row in rows], tmp_path / "costs.png")
    assert (tmp_path / "costs.png").stat().st_size > 5000


def test_samples_show_the_beginning_of_a_long_source(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "nar.txt").write_text("an output\nanother\n")
    found = samples(["short enough", "word " * 4000], [["a"], ["b"]], [tmp_path / "run" / "nar.txt"])
    assert found[0]["source"] == "short enough" and found[1]["outputs"] == {"run, nar": "another"}
    assert found[1]["source"].startswith("word word ") and found[1]["source"].endswith("word […]")
    assert len(found[1]["source"]) <= 2000
