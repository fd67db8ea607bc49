"""Small data in the examples' folder format, and fairseq's commands run inside the test process."""

import gc
import io
import logging
import random
from pathlib import Path

import pytest
from fairseq import checkpoint_utils

from examples import generate, prepare, recipe, train, workspace
from examples.classification import heads

from .. import command_line

# what makes any example's model small enough for a test
SMALL = {
    "--arch": "bang_tiny",
    **{
        f"--{side}-{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 1), ("embed-dim", 32))
    },
    "--encoder-ffn-embed-dim": 64,
    "--decoder-ffn-embed-dim": 64,
    "--max-source-positions": 48,
    "--max-target-positions": 48,
    "--max-tokens": 400,
    "--num-workers": 0,
    "--no-progress-bar": True,
}
SMALL = recipe.option_list(SMALL)
WORDS = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]

LISTS = "deb_dists_here_main"
ENGLISH = """\
Package: {name}
Description-md5: {name}-sum
Description-en: the {name} of all  tools
 The {name} is made of
 two lines: GNU's.
 .
 It has a list:
  * one {name} thing
    that goes on
  - another

"""
GERMAN = """\
Package: {name}
Description-md5: {name}-sum
Description-de: das Werkzeug {name}
 Der {name} hat
 eine Zeile.
 .
 Er hat eine Liste:
  * ein Ding wie {name}
  * noch eins{more}

"""
NAMES = [f"{letter}{other}" for letter in "abcdefghijkl" for other in "mnopqrstuvwx"]


def in_process(command, *arguments, gpus=0, output=None, visible=None):
    """What ``examples.workspace.fairseq`` does, without the seconds that a new process takes to start."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)  # pytest keeps fairseq from logging to standard output itself
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)  # as in a process of its own, whatever earlier tests have left
    root.addHandler(handler)
    arguments = list(arguments)
    plugin = arguments[arguments.index("--user-dir") + 1] if "--user-dir" in arguments else command_line.PLUGIN
    vars(checkpoint_utils.save_checkpoint).pop("best", None)  # fairseq remembers it from the last training
    try:
        written = command_line.fairseq(command, *arguments, user_dir=plugin)
        gc.collect()  # the totals are logged when a generator goes away, as they are where a process ends
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    if output:
        workspace.write_text(output, written + log.getvalue())


@pytest.fixture
def fast(monkeypatch):
    for module in (prepare, train, generate, heads):
        monkeypatch.setattr(module, "fairseq", in_process)
    monkeypatch.setattr(generate, "REPEATS", 1)


def write_data(folder: Path, sizes=(60, 8, 10), words=8, vocabulary=WORDS) -> Path:
    """Pairs whose target repeats the source's first words in capitals."""
    draw = random.Random(3)
    folder.mkdir(parents=True, exist_ok=True)
    for part, size in zip(("train", "dev", "test"), sizes):
        sources = [draw.choices(vocabulary, k=draw.randint(4, words)) for _ in range(size)]
        (folder / f"{part}.src").write_text("".join(" ".join(s) + "\n" for s in sources))
        (folder / f"{part}.tgt").write_text("".join(" ".join(s[:4]).upper() + "\n" for s in sources))
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def vocab(tmp_path) -> Path:
    """A BERT vocabulary of syllables."""
    path = tmp_path / "vocab.txt"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path.write_text("\n".join([*special, *WORDS, *(f"##{word}" for word in WORDS)]) + "\n")
    return path


@pytest.fixture
def lists(tmp_path):
    """144 packages; each two have a source package in common."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / f"{LISTS}_i18n_Translation-en").write_text("".join(ENGLISH.format(name=name) for name in NAMES))
    german = "".join(GERMAN.format(name=name, more="" if name < "b" else "\n  * zu viel") for name in NAMES[:24])
    (folder / f"{LISTS}_i18n_Translation-de").write_text(german)
    sources = (f"Package: {name}\nSource: src{k // 2 * 'x'} (1.0)\nVersion: 1\n\n" for k, name in enumerate(NAMES))
    (folder / f"{LISTS}_binary-amd64_Packages").write_text("".join(sources))
    return folder
