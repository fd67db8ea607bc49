"""The benchmark measures what it says: same losses, same outputs, prescribed acceptance. Times decide nothing."""

import argparse
import json
import logging
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from bang_plugin.errors import BangError
from scripts import benchmark
from scripts.bench import models, peers
from scripts.bench.contestants import (
    bang_contestants,
    ctranslate2_transformer,
    fairseq_nat,
    fairseq_transformer,
    release,
)
from scripts.bench.decode import agreement
from scripts.bench.peers import where_nar_does_not_pay
from scripts.bench.separate import separate_speculative
from scripts.bench.timing import interleave
from scripts.bench.train import Steps, contestants

SIZE = models.Size(layers=2, dim=32, ffn=64, heads=4, vocab=120)


@pytest.fixture(autouse=True)
def keep_log_level():
    """The benchmark keeps its process to warnings; other tests read what is logged at INFO."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture(scope="module")
def dictionary():
    return models.make_dictionary(SIZE)


@pytest.fixture(scope="module")
def model(dictionary):
    return models.bang(SIZE, dictionary, ngram=4, max_positions=40).eval()


def run(folder, *arguments) -> dict:
    """A quick benchmark; what it saved as JSON."""
    benchmark.main([arguments[0], "--quick", "--folder", str(folder), *map(str, arguments[1:])])
    base = folder / f"benchmark_{arguments[0]}"
    assert base.with_suffix(".png").stat().st_size > 0 and base.with_suffix(".md").exists()
    return json.loads(base.with_suffix(".json").read_text())


def training(*options):
    return benchmark.parse(["train", *map(str, options)])


def test_flex_takes_part_on_a_gpu_without_attention_dropout():
    assert "flex" not in contestants(training("--attention-dropout", 0))
    assert "flex" not in contestants(training("--device", "cuda"))
    assert "flex" in contestants(training("--device", "cuda", "--attention-dropout", 0))


@pytest.mark.parametrize("targets", [0, 9])
def test_training_contestants_compute_the_same_loss(targets):
    steps = Steps(SIZE, 2, 70, targets, 4)
    steps.model.eval()  # no dropout
    losses = {name: steps.step(name) for name in ("compact", "dense", "literal")}
    assert losses["compact"] == pytest.approx(losses["dense"], rel=1e-5)
    assert losses["compact"] == pytest.approx(losses["literal"], rel=1e-5)
    assert steps.operations("compact") < steps.operations("dense") < steps.operations("literal")


def test_nine_streams_count_45_pairs_a_span():
    steps = Steps(SIZE, 2, 129)
    assert steps.chains(9).sum() == 2 * 2 * 45


def test_interleave_begins_with_another_contestant_each_round():
    order = []
    timings = interleave({name: partial(order.append, name) for name in "abc"}, rounds=2)
    assert "".join(order) == "abc" + "bca" + "cab"
    assert all(len(timing.seconds) == 2 and timing.first > 0 for timing in timings.values())


@pytest.mark.parametrize("block_size", [1, 2, 4])
def test_separate_passes_write_the_same(model, dictionary, block_size):
    task = models.make_task(dictionary, 40, decoding="speculative", block_size=block_size)
    generator = task.build_generator([model], argparse.Namespace(beam=1, max_len_b=15))
    sample = models.sources(dictionary, 5, 9)
    ours = task.inference_step(generator, [model], sample)
    generator.mode = partial(separate_speculative, block_size=block_size)
    separate = task.inference_step(generator, [model], sample)
    for (a, *_), (b, *_) in zip(ours, separate):
        assert a["tokens"].tolist() == b["tokens"].tolist()
        assert torch.allclose(a["positional_scores"], b["positional_scores"], atol=1e-5)


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_prescribed_acceptance_sets_the_passes(model, dictionary, kept):
    contestants = bang_contestants(model, dictionary, 4, kept, 40)
    sample = models.sources(dictionary, 3, 9)
    for name, one in contestants.items():
        hypotheses = [nbest[0] for nbest in one.write(sample, 12)]
        assert {len(h["tokens"]) for h in hypotheses} == {12}
        if "confident" in name:
            assert {h["passes"] for h in hypotheses} == {12 // kept}
        if "look-ahead" in name:
            assert {h["passes"] for h in hypotheses} == {{1: 12, 2: 7, 4: 4}[kept]}
            (longer,) = one.write(models.sources(dictionary, 1, 9), 30)
            assert len(longer[0]["tokens"]) == 30 and longer[0]["passes"] == {1: 30, 2: 16, 4: 9}[kept]
        if "speculative" in name:
            # a pass that has nothing to verify writes one token; it follows every draft that was partly wrong
            assert {h["passes"] for h in hypotheses} == {{1: 12, 2: 8, 4: 4}[kept]}


def test_peers_write_the_asked_number_of_tokens(dictionary):
    sample = models.sources(dictionary, 2, 9)
    transformer = models.transformer(SIZE, dictionary, 40).eval()
    for one in fairseq_transformer(transformer, dictionary).values():
        assert {len(nbest[0]["tokens"]) for nbest in one.write(sample, 7)} == {7}
    nat = models.nonautoregressive_transformer(SIZE, dictionary, 40).eval()
    (one,) = fairseq_nat(nat, dictionary).values()
    assert {len(nbest[0]["tokens"]) for nbest in one.write(sample, 7)} == {7}


def test_ctranslate2_writes_what_fairseq_writes(dictionary):
    pytest.importorskip("ctranslate2")
    sample = models.sources(dictionary, 2, 9)
    transformer = models.transformer(SIZE, dictionary, 40).eval()
    ours = fairseq_transformer(transformer, dictionary)["fairseq transformer, greedy"].write(sample, 7)
    theirs = ctranslate2_transformer(transformer, SIZE, dictionary)["ctranslate2 float32, greedy"]
    for nbest, other in zip(ours, theirs.write(sample, 7)):
        words = [dictionary[token] for token in nbest[0]["tokens"].tolist()]
        assert len(other.hypotheses[0]) == 7 and other.hypotheses[0][:6] == words[:6]


def test_where_nar_does_not_pay_compares_within_a_setting():
    def row(contestant, ms, speed, source=128):
        return {"contestant": contestant, "ms, batch 1": ms, "sentences / s": speed, "at batch": 8, "source": source}

    rows = [row("bang nar", 10, 100), row("other, beam 4", 15, 10), row("other, greedy", 15, 10, source=400)]
    (losing,) = where_nar_does_not_pay([{**r, "output": 26} for r in rows])
    assert losing["peer"] == "other, beam 4" and losing["where"] == "batch 1"
    assert losing["NAR's gain over it"] == pytest.approx(1.5)


def test_agreement_counts_missing_tokens():
    assert agreement(["a b c", "x"], ["a b d", "x y"]) == pytest.approx(3 / 5)


def test_train(tmp_path):
    (layouts, growth) = run(tmp_path, "train")["tables"].values()
    assert [row["layout"] for row in layouts] == ["compact", "dense", "literal"]
    assert all(row["peak (GB)"] > 0 for row in layouts) and len(growth) == 3


def test_decode(tmp_path, toy_data, toy_checkpoint):
    references = toy_data / "test.tgt"
    options = ["--references", references, "--metrics", "exact", "--arrangements", "--quantize", "int8"]
    record = run(tmp_path, "decode", toy_checkpoint, toy_data / "bin", *options)
    modes, int8, arrangements, (by_length, as_it_comes) = record["tables"].values()
    assert by_length["padding %"] <= as_it_comes["padding %"]
    assert len(modes) == 7 and len(int8) == 7
    assert next(row for row in modes if row["decoding"] == "nar")["passes"] == 1
    assert all(row["equal outputs"] for row in arrangements)
    assert record["facts"]["speculative, K=4: sentences equal to greedy AR"] == "8 of 8"
    assert record["facts"]["speculative, beam 4, K=4: sentences equal to beam search"] == "8 of 8"


def test_lower_precision_is_for_the_cpu(tmp_path):
    with pytest.raises(BangError, match="--quantize needs --device cpu"):
        run(tmp_path, "decode", "model.pt", "data", "--quantize", "int8", "--device", "cuda")


def test_peers(tmp_path):
    pytest.importorskip("ctranslate2")
    record = run(tmp_path, "peers", "--without", "onnxruntime")
    rows = record["tables"]["7 source tokens, 5 output tokens"]
    assert len(rows) == 14 and all(row["ms, batch 1"] > 0 for row in rows)
    for name in ("bang nar", "bang ar, greedy"):
        assert 0 < record["facts"][f"{name}: share of time inside matrix products"] <= 1


def test_processor_time_and_no_throughput(tmp_path):
    options = ["--only", "bang nar", "--without", "ctranslate2", "--processor-time", "--batch-sizes"]
    (rows, *_) = run(tmp_path, "peers", *options)["tables"].values()
    assert all(row["ms, batch 1"] > row["encoder ms"] > 0 and "sentences / s" not in row for row in rows)
    with pytest.raises(BangError, match="--processor-time needs --device cpu"):
        run(tmp_path, "peers", "--processor-time", "--device", "cuda")


@pytest.mark.slow
def test_peers_with_exported_graphs(tmp_path):
    record = run(tmp_path, "peers", "--only", "bang nar", "onnxruntime", "--without", "ctranslate2")
    names = [row["contestant"] for row in record["tables"]["7 source tokens, 5 output tokens"]]
    assert len(names) == 8 and "onnxruntime int8, nar" in names


@pytest.mark.slow
def test_export(tmp_path, toy_data, toy_checkpoint):
    """The quick version of what it compares is tests/export/test_onnx.py."""
    benchmark.main(
        ["export", str(Path(toy_checkpoint).parent), str(toy_data / "bin"), "--quick", "--folder", str(tmp_path)]
    )
    record = json.loads((tmp_path / "benchmark_export.json").read_text())
    assert all(
        record["facts"][f"{graph}.onnx, float32: greatest difference of a logit"] < 1e-4 for graph in ("nar", "step")
    )
    rows = record["tables"]["8 sentences"]
    assert len(rows) == 15 and all(row["ms, batch 1"] > 0 for row in rows)
    assert all(row["sentences as torch"] == 8 for row in rows if "int8" not in row["by"])


def test_peers_in_other_precisions(tmp_path):
    record = run(tmp_path, "peers", "--dtype", "bfloat16", "--without", "ctranslate2")
    rows = record["tables"]["7 source tokens, 5 output tokens"]
    assert len(rows) == 10 and all(row["ms, batch 1"] > 0 for row in rows)
    record = run(tmp_path, "peers", "--only", "bang", "--without", "ctranslate2", "--quantize", "int8")
    names = [row["contestant"] for row in record["tables"]["7 source tokens, 5 output tokens"]]
    assert "bang nar" in names and "bang int8 nar" in names


def test_peers_with_compiled_layers(tmp_path, compiled_quickly):
    record = run(tmp_path, "peers", "--only", "bang nar", "compiled nar", "--without", "ctranslate2", "--compile")
    rows = {row["contestant"]: row for row in record["tables"]["7 source tokens, 5 output tokens"]}
    assert set(rows) == {"bang ar, beam 4", "bang nar", "bang compiled nar"}
    assert rows["bang compiled nar"]["first run, s"] > rows["bang compiled nar"]["ms, batch 1"] / 1000


def test_peers_of_a_checkpoint(tmp_path, toy_data, toy_checkpoint):
    options = ["--checkpoint", toy_checkpoint, "--data", toy_data / "bin", "--only", "bang", "--without", "ctranslate2"]
    (rows,) = [rows for title, rows in run(tmp_path, "peers", *options)["tables"].items() if "output tokens" in title]
    assert len(rows) == 7


STAND_IN = """#!{python}
import json, sys
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(sys.argv[2:], request["way"], request["length"], len(request["tokens"]), file=sys.stderr)
    print("written", flush=True)
"""


def test_release_takes_part_in_a_process_of_its_own(tmp_path, dictionary, capfd):
    """Its protocol, with a stand-in for the old interpreter."""
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(python=sys.executable))
    python.chmod(0o755)
    found = release(str(python), "BANG/bang/bang", dictionary, 40)
    assert list(found) == ["release, beam 4", "release, greedy", "release, nar, a mask per source token"]
    found["release, greedy"].write(models.sources(dictionary, 3, 9), 7)
    started = ["BANG/bang/bang", "bang_ar_nar_mixed_base", str(len(dictionary)), "40", str(torch.get_num_threads())]
    assert f"{started} greedy 7 3" in capfd.readouterr().err


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_release_that_does_not_start(dictionary, python):
    with pytest.raises(BangError, match="--release"):
        release(python, "BANG", dictionary, 40)


def test_memory(tmp_path):
    tables = list(run(tmp_path, "memory")["tables"].values())
    assert all(row["peak (GB)"] >= row["model (GB)"] > 0 for table in tables[:2] for row in table)


def test_nobody_keeps_more_than_is_drafted(tmp_path):
    with pytest.raises(BangError, match="--kept 9 is more than --block-size 4"):
        run(tmp_path, "peers", "--kept", 9)


def test_no_packing_leaves_the_layers_to_torch(tmp_path, monkeypatch):
    packed = []
    monkeypatch.setattr(peers, "pack_for_inference", lambda model, precision: packed.append(precision))
    only = ["--only", "bang nar", "--without", "ctranslate2"]
    run(tmp_path, "peers", *only, "--no-packing")
    assert not packed
    run(tmp_path, "peers", *only)
    assert packed == ["none"]
