"""Traces and totals: which tokens came in which pass."""

import argparse
import gc
import json
import re

import pytest
import torch

from bang_plugin.decoding.stats import format_trace
from bang_plugin.errors import BangError

from ..command_line import fairseq, hypotheses
from .conftest import write

MODES = [
    {"decoding": "nar", "nar_chunk": 4},
    {"decoding": "semi_nar", "block_size": 3},
    {"decoding": "confident", "block_size": 4, "confidence": 0.15},
    {"decoding": "adaptive", "block_size": 4, "tolerance": 0.5},
    {"decoding": "speculative", "block_size": 3},
]


@pytest.mark.parametrize("mode", MODES)
def test_trace_file_tells_the_whole_story(make_task, model, rows, tmp_path, mode, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "trace.jsonl"
    task = make_task(**mode, trace_file=str(path))
    hypotheses = write(task, model, rows)
    gc.collect()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["id"] for r in records] == list(range(len(rows)))
    dictionary = task.target_dictionary
    for record, hypothesis in zip(records, hypotheses):
        kept = [token for step in record["trace"] for token in step["tokens"][: step["kept"]]]
        assert kept == [dictionary[token] for token in hypothesis["tokens"]]
        assert [step["pass"] for step in record["trace"]] == list(range(1, hypothesis["passes"] + 1))
        probabilities = [p for step in record["trace"] for p in step["probabilities"][: step["kept"]]]
        assert probabilities == pytest.approx(hypothesis["positional_scores"].exp().tolist(), rel=1e-4)
    passes, tokens = sum(h["passes"] for h in hypotheses), sum(h["kept"] for h in hypotheses)
    proposed = sum(h["proposed"] for h in hypotheses)
    batches = f"{len(rows)} sentences in batches of {len(rows)}.0"
    assert f"{batches}, {passes / len(rows):.2f} decoder passes each" in caplog.text
    assert f"{tokens / passes:.2f} tokens per pass, {100 * tokens / proposed:.1f} %" in caplog.text


def test_beam_search_counts_its_steps(make_task, model, rows, caplog):
    """A search goes on until its last hypothesis ends: more steps than the best one has tokens."""
    caplog.set_level("INFO")
    logits = model.decoder.output_layer
    task = make_task()
    more_ends = torch.zeros(len(task.target_dictionary))
    more_ends[task.target_dictionary.eos()] = 4.0  # the random model hardly ever ends a sentence
    model.decoder.output_layer = lambda features: logits(features) + more_ends
    before, found = model.decoder.num_passes, []
    generator = task.build_generator([model], argparse.Namespace(max_len_b=30, beam=4, lenpen=0.2))
    for row in rows[:4]:
        sample = {"net_input": {"src_tokens": row.unsqueeze(0), "src_lengths": torch.tensor([len(row)])}}
        found += [hypotheses[0] for hypotheses in task.inference_step(generator, [model], sample)]
    steps = model.decoder.num_passes - before
    assert sum(h["passes"] for h in found) == steps > sum(len(h["tokens"]) for h in found)
    del generator
    gc.collect()
    assert f"--decoding ar: 4 sentences in batches of 1.0, {steps / 4:.2f} decoder passes each" in caplog.text
    assert "tokens per pass" not in caplog.text


def test_printed_trace(make_task, model, rows, capsys):
    hypotheses = write(make_task(decoding="semi_nar", block_size=3, print_trace=True), model, rows[:1])
    lines = capsys.readouterr().out.splitlines()
    assert lines == format_trace(0, hypotheses[0]["trace"])
    assert lines[0].startswith("R-0\tpass 1\t3/3\t")


def test_format():
    step = {"pass": 2, "tokens": ["a", "b"], "probabilities": [0.5, 0.25], "kept": 1}
    assert format_trace(7, [step]) == ["R-7\tpass 2\t1/2\ta(0.50) | b(0.25)"]


def test_unwritable_file(make_task, model, tmp_path):
    with pytest.raises(BangError, match="--trace-file .*: No such file"):
        make_task(decoding="nar", trace_file=str(tmp_path / "no" / "t")).build_generator([model], object())


def test_two_writers_of_one_file(make_task, model, rows, tmp_path):
    path = tmp_path / "trace.jsonl"
    task = make_task(decoding="nar", trace_file=str(path))
    path.write_text("what an earlier run wrote\n")
    first = task.build_generator([model], object())
    with pytest.raises(BangError, match="--trace-file .*trace.jsonl: another process or decoding is writing it"):
        task.build_generator([model], object())
    net_input = {"src_tokens": rows[0].unsqueeze(0), "src_lengths": None}
    first.generate([model], {"id": torch.tensor([4]), "net_input": net_input})
    del first
    gc.collect()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [4]
    task.build_generator([model], object())  # free again


@pytest.mark.parametrize("option", [{"print_trace": True}, {"trace_file": "x"}, {"collapse_repeats": True}])
def test_not_with_ar(make_task, option):
    with pytest.raises(BangError, match="needs --decoding nar or semi_nar or confident or adaptive or speculative"):
        make_task(decoding="ar", **option)


@pytest.mark.parametrize(
    "option, message",
    [
        ({"block_size": 0}, "--block-size must be at least 1, not 0"),
        ({"nar_chunk": 0}, "--nar-chunk must be at least 1"),
        ({"decoding": "nar", "nar_candidates": 0}, "--nar-candidates must be at least 1"),
        ({"decoding": "semi_nar", "nar_candidates": 2}, "--nar-candidates 2 needs --decoding nar"),
        ({"confidence": -0.1}, "--confidence is a probability"),
        ({"decoding": "sideways"}, "choose one of ar, nar"),
    ],
)
def test_values_out_of_range(make_task, option, message):
    with pytest.raises(BangError, match=message):
        make_task(**option)


def test_fewer_streams_than_the_block(make_task, model, rows, caplog):
    write(make_task(decoding="semi_nar", block_size=3), model, rows[:1])
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and "--block-size 3" in warnings[0] and "--ngram 1" in warnings[0]


def test_typed_lines_keep_their_numbers(toy_data, toy_checkpoint, tmp_path, capsys):
    """fairseq-interactive writes a buffer in the order of its lines' lengths."""
    lines = ["a b c d e", "a", "b c d", "h g", "a b c d"]
    base = [toy_data / "bin", "--task", "bang", "--path", toy_checkpoint, "--cpu", "--decoding", "nar"]
    options = ["--buffer-size", 3, "--batch-size", 1, "--max-len-b", 15, "--print-trace"]
    output = fairseq("interactive", *base, *options, stdin="".join(line + "\n" for line in lines))
    traces = dict(re.findall(r"^R-(\d+)\tpass 1\t\d+/\d+\t(.*)$", output, re.M))
    for number, (_, text) in hypotheses(output).items():
        words = re.sub(r"\([\d.]+\)", "", traces[str(number)]).split()
        assert words[: len(text.split())] == text.split()
    assert sorted(traces) == ["0", "1", "2", "3", "4"]
