"""Traces and totals: which tokens came in which pass."""

import argparse
import gc
import json
import re

import pytest
import torch

from bang_plugin.decoding.session import Session
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


def test_not_with_ar(make_task):
    with pytest.raises(BangError, match="needs --decoding nar or semi_nar or confident or adaptive or speculative"):
        make_task(decoding="ar", collapse_repeats=True)


def traced(make_task, model, rows, path, **options):
    """What --trace-file holds after all rows were written, and the hypotheses."""
    task = make_task(**options, trace_file=str(path))
    hypotheses = write(task, model, rows)
    gc.collect()
    return [json.loads(line) for line in path.read_text().splitlines()], hypotheses, task.target_dictionary


def test_trace_of_a_search(make_task, model, rows, tmp_path):
    """Its best hypothesis, a token a pass, with the source and the decoding's name."""
    records, hypotheses, dictionary = traced(make_task, model, rows, tmp_path / "t", decoding="ar")
    for record, hypothesis, row in zip(records, hypotheses, rows):
        assert record["decoding"] == "ar" and record["source"] == [dictionary[int(token)] for token in row[:-1]]
        assert [step["tokens"] for step in record["trace"]] == [[dictionary[token]] for token in hypothesis["tokens"]]
        assert [step["pass"] for step in record["trace"]] == list(range(1, len(hypothesis["tokens"]) + 1))
        probabilities = [p for step in record["trace"] for p in step["probabilities"]]
        assert probabilities == pytest.approx(hypothesis["positional_scores"].exp().tolist(), rel=1e-4)
        assert all(len(step["alternatives"][0]) == 3 for step in record["trace"][:-1])  # its only beam's


def test_alternatives_are_the_model_s(make_task, model, rows, tmp_path):
    """Of the first token: what stream 1 gives the most probable others."""
    records, _, dictionary = traced(make_task, model, rows, tmp_path / "t", decoding="semi_nar", block_size=3)
    for record, row in zip(records, rows):
        session = Session([model], {"src_tokens": row.unsqueeze(0), "src_lengths": torch.tensor([len(row)])})
        logits, normaliser = session.chains(torch.tensor([[dictionary.eos()]]), 1)
        lprobs = (logits - normaliser)[0, 0]
        lprobs[[dictionary.pad(), dictionary.eos()]] = -torch.inf  # nothing ends before its first token
        best, tokens = lprobs.topk(4)
        first = record["trace"][0]
        assert first["tokens"][0] == dictionary[int(tokens[0])]
        assert [word for word, _ in first["alternatives"][0]] == [dictionary[int(token)] for token in tokens[1:]]
        assert [p for _, p in first["alternatives"][0]] == pytest.approx(best[1:].exp().tolist(), abs=2e-6)


@pytest.mark.parametrize("mode", [{"decoding": "speculative"}, {"decoding": "adaptive", "tolerance": 0.5}])
def test_drafts_that_were_verified(make_task, model, rows, tmp_path, mode):
    """What was right is what was kept, but for the token that the pass found itself."""
    records, _, dictionary = traced(make_task, model, rows, tmp_path / "t", block_size=4, **mode)
    rejected = 0
    for step in (step for record in records for step in record["trace"]):
        kept, draft = step["tokens"][: step["kept"]], step["draft"]
        assert draft[: len(kept) - 1] == kept[:-1]
        if len(draft) >= len(kept) and draft[len(kept) - 1] != kept[-1]:
            rejected += len(draft) - len(kept) + 1
        eos = dictionary[dictionary.eos()]
        ended = kept[-1] == eos
        assert len(step["alternatives"]) == (len(kept) if ended else len(step["tokens"]))
        for token, others in zip(step["tokens"], step["alternatives"]):
            probabilities = [p for _, p in others]
            assert token not in dict(others) and probabilities == sorted(probabilities, reverse=True)
            assert others or token == eos  # at the length limit nothing else may come
    assert rejected > 5


def test_nothing_is_noted_for_a_printed_trace(make_task, model, rows, capsys):
    [hypothesis] = write(make_task(decoding="speculative", block_size=3, print_trace=True), model, rows[:1])
    assert set(hypothesis["trace"][0]) == {"pass", "tokens", "probabilities", "kept"}


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
