"""``bang export --format onnx``: the graphs give our logits and the loop our tokens, for any batch and length."""

import json
import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bang_plugin.__main__ import main as bang
from bang_plugin.decoding.session import Session
from bang_plugin.errors import BangError
from bang_plugin.export import graphs, onnx_files, source
from bang_plugin.export.decode import Writer
from scripts.bench.onnx_graphs import contestants
from tests.conftest import build_reference_model, build_task

LONGEST = 38
ENDS = 3.0
MODES = [
    ("ar", {}, {"decoding": "ar"}),
    ("nar", {}, {"decoding": "nar"}),
    *(("semi_nar", {"block": k}, {"decoding": "semi_nar", "block_size": k}) for k in (2, 5)),
    *(
        ("adaptive", {"block": k, "tolerance": t}, {"decoding": "adaptive", "block_size": k, "tolerance": t})
        for k, t in ((2, 0.5), (5, 3.0), (4, 0.0))
    ),
    *(("speculative", {"block": k}, {"decoding": "speculative", "block_size": k}) for k in (1, 3, 5)),
]


@pytest.fixture(scope="session")
def exported(reference, tmp_path_factory):
    """A small model with random weights, its folder, and the sentences that it is tried on."""
    model, out = build_reference_model(reference), tmp_path_factory.mktemp("onnx")
    with torch.no_grad():  # the end symbol somewhat more probable, so that answers have different lengths
        model.decoder.embed_tokens.weight[reference.dictionary.eos()] *= ENDS
    found = source.Source("reference", None, build_task(reference.dictionary), model, None)
    onnx_files.write(found, out, "int8")
    random = np.random.default_rng(0)
    sizes = [*random.integers(1, 12, 10), LONGEST, 0]
    sources = [[*map(int, random.integers(10, 60, n)), reference.dictionary.eos()] for n in sizes]
    return SimpleNamespace(out=out, model=model, sources=sources, dictionary=reference.dictionary)


@pytest.fixture(scope="module")
def writer(exported):
    return Writer(exported.out)


def padded(sources, pad, left=False):
    longest = max(map(len, sources))
    rows = [[pad] * (longest - len(s)) * left + s + [pad] * (longest - len(s)) * (not left) for s in sources]
    return np.array(rows)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted.detach().numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("left", [False, True])
def test_nar_logits(exported, writer, left):
    """Those of a batch are ours, and what each sentence has alone, however many masks there are."""
    src_tokens = padded(exported.sources, writer.pad, left)
    session = Session([exported.model], {"src_tokens": torch.from_numpy(src_tokens)})
    session.start_chain(writer.eos)
    with torch.no_grad():
        wanted, _ = session.grow_chain(LONGEST)
    close(writer.run("nar", src_tokens=src_tokens, elements=np.arange(1, LONGEST + 1))[0], wanted)
    for i, alone in enumerate(exported.sources):
        for masks in (1, 2, 17):
            found = writer.run("nar", src_tokens=np.array([alone]), elements=np.arange(1, masks + 1))[0]
            close(found, wanted[i : i + 1, :masks])


@pytest.mark.parametrize("nar_prefix", ["empty", "start"])
def test_what_nar_s_chain_stands_behind(exported, writer, reference, nar_prefix):
    """The graph before it is exported: y_0 or nothing, as the model was trained."""
    model = build_reference_model(reference, nar_prefix=nar_prefix)
    src_tokens = torch.from_numpy(padded(exported.sources, writer.pad))
    session = Session([model], {"src_tokens": src_tokens})
    session.start_chain(writer.eos)
    with torch.no_grad():
        found = graphs.Nar(model)(src_tokens, torch.arange(1, LONGEST + 1))
        close(found.numpy(), session.grow_chain(LONGEST)[0])


def test_step_logits(exported, writer):
    """Of sentences that read different numbers of tokens a step, in two steps; chains behind any of the tokens."""
    random = np.random.default_rng(1)
    src_tokens, first, second = padded(exported.sources, writer.pad), 20, 10
    prefix = random.integers(10, 60, (len(src_tokens), first + second))
    prefix[:, 0] = writer.eos
    counts = random.integers(1, first + 1, len(src_tokens))
    memory = dict(zip(("cross_keys", "cross_values", "source_mask"), writer.run("encoder", src_tokens=src_tokens)))
    state = memory["cross_keys"].shape
    nothing = np.zeros((len(src_tokens), state[1], state[2], 0, state[4]), np.float32)
    none = np.zeros((len(src_tokens), 0), int)

    def step(read, tokens, anchor, element, keys, values):
        return writer.run(
            "step", **memory, keys=keys, values=values, lengths=read, tokens=tokens, anchor=anchor, element=element
        )

    _, keys, values = step(np.zeros_like(counts), prefix[:, :first], none, none, nothing, nothing)
    keys[counts.argmin(), :, :, counts.min() :] = 1e3  # what lies behind a sentence's tokens is not looked at
    rest = np.array([row[count : count + second] for row, count in zip(prefix, counts)])
    anchor = np.array([[2, 2, 2, 9, 0, 9]] * len(rest))
    element = np.array([[1, 2, 3, 1, 0, 2]] * len(rest))
    logits, *_ = step(counts, rest, anchor, element, keys, values)
    for i, count in enumerate(counts):
        for behind, masks, length in (([0, 1, 2], 3, count + 3), ([3, 5], 2, count + second)):
            session = Session([exported.model], {"src_tokens": torch.tensor([exported.sources[i]])})
            with torch.no_grad():
                wanted, _ = session.chains(torch.from_numpy(prefix[i : i + 1, :length]), masks)
            close(logits[i : i + 1, behind], wanted)


@pytest.mark.parametrize("mode, options, task", MODES)
@pytest.mark.parametrize("limits", [{}, {"max_len_b": 9, "min_len": 4}, {"max_len_b": 1}])
def test_tokens_are_ours(exported, writer, mode, options, task, limits):
    generator = build_task(exported.dictionary, **task).build_generator([exported.model], Namespace(beam=1, **limits))
    sample = {"net_input": {"src_tokens": torch.from_numpy(padded(exported.sources, writer.pad))}}
    sample["net_input"]["src_lengths"] = torch.tensor([len(s) for s in exported.sources])
    wanted = [found[0]["tokens"].tolist() for found in generator.generate([exported.model], sample)]
    limits = {"max_len": limits.get("max_len_b", 200), "min_len": limits.get("min_len", 1)}
    assert writer.write(exported.sources, mode, **options, **limits) == wanted
    alone = [writer.write([tokens], mode, **options, **limits)[0] for tokens in exported.sources]
    assert alone == wanted
    assert limits["max_len"] < 200 or len({len(tokens) for tokens in wanted}) > 1


def test_speculative_needs_fewer_passes(writer, exported):
    def passes(mode, **options):
        before = writer.passes
        writer.write(exported.sources[:1], mode, **options)
        return writer.passes - before

    assert passes("nar") <= 2 and passes("semi_nar", block=4) < passes("speculative", block=4) < passes("ar")


def test_the_loop_runs_without_torch_and_fairseq(exported, writer, tmp_path):
    folder = shutil.copytree(exported.out, tmp_path / "moved")
    symbols = json.loads((folder / "config.json").read_text())["symbols"]
    lines = "".join(" ".join(symbols[t] for t in tokens[:-1]) + "\n" for tokens in exported.sources)
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import decode; decode.main('speculative')\n"
        "assert not {'torch', 'fairseq', 'bang_plugin'} & set(sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", code], input=lines, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert run.returncode == 0, run.stderr
    wanted = [" ".join(symbols[t] for t in tokens[:-1]) for tokens in writer.write(exported.sources, "ar")]
    assert run.stdout.splitlines() == wanted
    for mode, line, told in (
        ("beam", "a", "one of ar, nar, .* not 'beam'"),
        ("ar", "a " * 40, "^41 tokens, .* takes 40"),
    ):
        with pytest.raises(ValueError, match=told):
            writer.write([line.split() + [0]], mode)
    for arguments, text, told in (
        (["nar", "int4"], lines, "error: .*nar.int4.onnx: not there; was it exported"),
        (["nar"], "a\n" * 33 + "a " * 40, "error: line 34: 41 tokens, but the model takes 40"),
        ([], "a", "error: a mode is needed, one of ar, "),
    ):
        call = [sys.executable, str(folder / "decode.py"), *arguments]
        run = subprocess.run(call, input=text, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert run.returncode == 1 and re.fullmatch(told + ".*\n", run.stderr), run.stderr


def test_int8(exported, writer):
    """Smaller files, logits near the exact ones, and they write."""
    eight = Writer(exported.out, "int8")
    for name in writer.files:
        sizes = [os.path.getsize(files[name]) for files in (writer.files, eight.files)]
        assert sizes[1] < 0.8 * sizes[0]
    inputs = {"src_tokens": padded(exported.sources, writer.pad), "elements": np.arange(1, 11)}
    exact, near = (w.run("nar", **inputs)[0].ravel() for w in (writer, eight))
    assert 0.95 < np.corrcoef(exact, near)[0, 1] < 1 - 1e-7
    answers = [eight.write(exported.sources, mode, **options, max_len=9) for mode, options, _ in MODES]
    assert all(tokens[-1] == writer.eos for answer in answers for tokens in answer)


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_contestants_of_the_benchmark(exported, kept):
    """They write the asked number of tokens, and what they keep of each draft is prescribed."""
    eos = exported.dictionary.eos()
    sample = {"net_input": {"src_tokens": torch.tensor([[11, 12, eos], [13, 14, eos]])}}
    found = contestants(exported.out, 4, kept)
    assert len(found) == 6
    for name, one in found.items():
        writer = one.write.args[0]
        before = writer.passes
        assert {len(tokens) for tokens in one.write(sample, 12)} == {12}
        if "speculative" in name:
            assert writer.passes - before == {1: 12, 2: 8, 4: 4}[kept]


def test_packed_models_and_unknown_operators(reference, tmp_path):
    model = build_reference_model(reference)
    model.encoder.layers[1].activation_fn = torch.special.bessel_j0
    with pytest.raises(
        BangError, match="^mine: cannot be exported as encoder.onnx: ONNX has nothing for its operator bessel_j0$"
    ):
        onnx_files.write_graphs(model, tmp_path, "mine")
    assert model.decoder.attention_backend == "auto" and not list(tmp_path.iterdir())
    model.decoder.pack("float32")
    with pytest.raises(BangError, match="^mine: its weights are packed .*: load it anew"):
        onnx_files.write_graphs(model, tmp_path, "mine")


def test_bad_input(trained, tmp_path, monkeypatch):
    call = ["export", str(trained), str(tmp_path / "out"), "--format"]
    with pytest.raises(SystemExit, match="^error: --quantize int8 needs --format onnx$"):
        bang([*call, "safetensors", "--quantize", "int8"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        SystemExit, match=r'^error: --format onnx needs .* onnxscript: pip install "bang_plugin\[export\]"$'
    ):
        bang([*call, "onnx"])
    assert not list(tmp_path.iterdir())
