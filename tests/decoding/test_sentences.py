"""Every mode on a model of real sentences: outputs as long as greedy AR's.

A model learns how many tokens a sentence has before it learns which ones. A mode that compares outputs of different
lengths by sums of log-probabilities then writes two words instead of ten; random models and toys of letters do not show
it.
"""

import ast
import copy
import re
import sysconfig
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from bang_plugin.commands import tokenise

from ..command_line import fairseq
from .conftest import write

TRAINED, ASKED = 500, 100
SIZES = {"layers": 1, "embed-dim": 64, "ffn-embed-dim": 128}
MODEL = [part for side in ("encoder", "decoder") for name, size in SIZES.items() for part in (f"--{side}-{name}", size)]
TRAINING = ["--criterion", "nstream_loss", "--ngram", 4, "--nar-ratio", 0.4, "--label-smoothing", 0.1, "--seed", 1]
TRAINING += ["--optimizer", "adam", "--lr", 0.003, "--lr-scheduler", "inverse_sqrt", "--warmup-updates", 100]
TRAINING += ["--max-tokens", 600, "--max-update", 300, "--dropout", 0]
TRAINING += ["--disable-validation", "--no-progress-bar", "--cpu"]


def docstrings():
    """Texts from Python's own library, in the same order everywhere."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                yield " ".join((ast.get_docstring(node) or "").split())


def sentences():
    """Plain sentences of 6 to 16 words."""
    known = set()
    for text in docstrings():
        for sentence in re.findall(r"(?<![\w,;:] )\b[A-Z][a-z]*(?: [a-z]+,?){5,15}\.", text):
            if sentence not in known:
                known.add(sentence)
                yield sentence.lower()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model that is to put words, given in the order of the alphabet, into the order of their sentence."""
    folder = tmp_path_factory.mktemp("sentences")
    lines = list(islice(sentences(), TRAINED + ASKED))
    (folder / "all").write_text("".join(line + "\n" for line in lines))
    tokenise.train([folder / "all"], folder / "spm.model", 800)
    pieces = tokenise.load(folder / "spm.model", None)
    for split, part in (("test", lines[:ASKED]), ("train", lines[ASKED:])):
        for side, order in (("src", sorted), ("tgt", list)):
            words = (" ".join(order(line.split())) for line in part)
            (folder / f"{split}.{side}").write_text("".join(pieces.encode(text) + "\n" for text in words))
    prefixes = [part for split in ("train", "test") for part in (f"--{split}pref", folder / split)]
    pair = ["--source-lang", "src", "--target-lang", "tgt", "--joined-dictionary"]
    fairseq("preprocess", "--task", "bang", *pair, *prefixes, "--destdir", folder / "bin")
    limits = ["--max-source-positions", 64, "--max-target-positions", 64]
    base = [folder / "bin", "--task", "bang", "--arch", "bang_tiny", "--save-dir", folder / "model"]
    fairseq("train", *base, *MODEL, *limits, *TRAINING)
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(folder / "model" / "checkpoint_last.pt")])
    task.load_dataset("test")
    rows = [pair["source"] for pair in task.dataset("test")]
    found = SimpleNamespace(task=task, model=model.eval(), rows=rows)
    found.greedy = mean_length(found, {"beam": 1}, decoding="ar")
    return found


def mean_length(trained, options=None, **mode) -> float:
    task = copy.copy(trained.task)
    task.cfg = OmegaConf.merge(task.cfg, mode)
    found = write(task, trained.model, trained.rows, max_len_b=60, **(options or {}))
    return sum(len(hypothesis["tokens"]) for hypothesis in found) / len(found)


@pytest.mark.parametrize(
    "mode",
    [
        {"decoding": "ar", "options": {"beam": 4}},
        {"decoding": "speculative"},
        {"decoding": "adaptive"},
        {"decoding": "confident", "confidence": 0.1},
        {"decoding": "semi_nar"},
        {"decoding": "nar"},
        {"decoding": "nar", "nar_candidates": 8},
        {"decoding": "nar", "nar_candidates": 8, "options": {"lenpen": 0.0}},
        {"decoding": "nar", "nar_candidates": 64},
    ],
    ids=lambda mode: ",".join(map(str, mode.values())),
)
def test_outputs_are_as_long_as_those_of_greedy_ar(trained, mode):
    assert trained.greedy > 10
    assert mean_length(trained, **mode) == pytest.approx(trained.greedy, rel=0.2)
