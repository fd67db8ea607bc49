"""The examples that ``bang COMMAND --help`` shows: each runs as it stands, in a folder that has the files it names."""

import importlib
import io
import json
import os
import shlex
import shutil
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest

from bang_plugin.__main__ import COMMANDS, main
from tests.conversion.conftest import bert, prophetnet, symbols, transformers, xprophetnet  # noqa: F401  (fixtures)

from .test_average import save
from .test_trace import record

# options that a test adds to an example, so that it is done at once
SMALLER = {"bang tokenise train": ["--size", "60"]}


def examples() -> list[str]:
    """Lines that begin with ``bang`` in the commands' docstrings, without remarks in brackets behind them."""
    lines = (
        line
        for name in COMMANDS
        for line in importlib.import_module(f"bang_plugin.commands.{name}").__doc__.splitlines()
    )
    return [line.strip().partition("   ")[0] for line in lines if line.startswith("    bang ")]


def is_done(example: str) -> bool:
    """Whether a command comes to an end; ``tests/serving`` tries what does not."""
    return not example.startswith("bang serve ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, prophetnet, xprophetnet, bert, toy_data, toy_checkpoint):  # noqa: F811
    """Text, hypotheses and references, checkpoints of ten epochs and one that writes, and small models under the
    published names.
    """
    folder = tmp_path_factory.mktemp("help")
    shutil.copytree(prophetnet.folder, folder / "microsoft" / "prophetnet-large-uncased")
    shutil.copytree(xprophetnet.folder, folder / "downloads" / "xprophetnet-large-wiki100-cased")
    shutil.copytree(bert.folder, folder / "bert-base-uncased")
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghij"), 4)) for _ in range(100)]
    for name in ("corpus.src", "corpus.tgt", "text", "outputs.txt", "test.tgt"):
        (folder / name).write_text("".join(" ".join(random.choice(words, 5)) + "\n" for _ in range(50)))
    for name in ("trace.jsonl", "ar.jsonl", "speculative.jsonl"):
        (folder / name).write_text(json.dumps(record()) + "\n")
    (folder / "model").mkdir()
    shutil.copy(toy_checkpoint, folder / "model" / "model.pt")
    for side in ("src", "tgt"):
        shutil.copy(toy_data / "bin" / f"dict.{side}.txt", folder / "model")
    for epoch in range(1, 11):
        save(folder / "model" / f"checkpoint{epoch}.pt", [float(epoch)], 10 * epoch, loss=float(epoch))
        save(folder / "model" / f"checkpoint_{epoch}_{10 * epoch - 5}.pt", [float(epoch)], 10 * epoch - 5)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and f"    bang {name} " in text and "--" in text
    assert any(example.startswith(f"bang {name} ") for example in examples())


def test_examples_run(folder, monkeypatch, capsys):
    """In their order, since one may read what an earlier one wrote."""
    monkeypatch.chdir(folder)
    for example in filter(is_done, examples()):
        words, files = shlex.split(example), {}
        for sign in "<>":
            if sign in words:
                at = words.index(sign)
                files[sign] = words[at + 1]
                del words[at : at + 2]
        more = next((options for start, options in SMALLER.items() if example.startswith(start)), [])
        before = set(os.listdir())
        with open(files.get("<", os.devnull), "rb") as source, io.StringIO() as out:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
            with redirect_stdout(out):
                main([*words[1:], *more])
            if ">" in files:
                # what is encoded and decoded again is a text of its own
                with open(files[">"] + ".out", "w") as file:
                    file.write(out.getvalue())
                os.replace(files[">"] + ".out", files[">"])
            assert out.getvalue() or set(os.listdir()) - before, f"{example}: nothing came of it"
