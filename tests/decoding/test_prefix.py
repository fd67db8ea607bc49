"""``--prefix-size`` in the modes that write behind a prefix: what AR writes where it must be, else the prefix first."""

import argparse

import pytest
import torch
from fairseq.data.data_utils import collate_tokens

from bang_plugin.errors import BangError
from tests.decoding.test_lookahead import assert_same, random_model, sources

MODES = [
    {"decoding": "semi_nar", "block_size": 3},
    {"decoding": "confident", "block_size": 3, "confidence": 0.1},
    {"decoding": "adaptive", "block_size": 3, "tolerance": 2.0},
    {"decoding": "speculative", "block_size": 3},
]
AS_GREEDY = [
    {"decoding": "semi_nar", "block_size": 1},
    {"decoding": "confident", "block_size": 4, "confidence": 1.1},
    {"decoding": "adaptive", "block_size": 4, "tolerance": 0.0},
    {"decoding": "speculative", "block_size": 4},
]


@pytest.fixture
def prefixes(reference):
    pad, eos = reference.dictionary.pad(), reference.dictionary.eos()
    return torch.tensor([[30, 31, 32], [33, pad, pad], [34, 35, eos], [pad, pad, pad], [eos, pad, pad], [36, 37, pad]])


@pytest.fixture
def rows(reference):
    return sources(reference, 6)


def write(task, models, rows, prefixes, **options):
    tokens = collate_tokens(rows, task.source_dictionary.pad(), left_pad=True)
    sample = {"net_input": {"src_tokens": tokens, "src_lengths": torch.tensor([len(row) for row in rows])}}
    args = argparse.Namespace(**{"beam": 1, "max_len_b": 12, "prefix_size": 3, **options})
    return task.inference_step(task.build_generator(models, args), models, sample, prefixes)


@pytest.mark.parametrize("options", [{}, {"max_len_b": 2}, {"min_len": 5}, {"lenpen": 0.0}], ids=str)
@pytest.mark.parametrize("mode", AS_GREEDY, ids=str)
def test_what_is_greedy_ar_is_so_behind_a_prefix(make_task, reference, rows, prefixes, mode, options):
    models = [random_model(reference, 8)]
    expected = write(make_task(), models, rows, prefixes, **options)
    assert_same(write(make_task(**mode), models, rows, prefixes, **options), expected)
    assert any(len(sentence[0]["tokens"]) > 3 for sentence in expected) or "max_len_b" in options


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_together_as_alone(make_task, reference, rows, prefixes, mode):
    models, task = [random_model(reference, seed) for seed in (8, 9)], make_task(**mode)
    together = write(task, models, rows, prefixes)
    for i, row in enumerate(rows):
        assert_same([together[i]], write(task, models, [row], prefixes[i : i + 1]))
        given = prefixes[i][prefixes[i] != reference.dictionary.pad()]
        assert together[i][0]["tokens"][: len(given)].tolist() == given.tolist()
    behind_nothing = write(task, models, rows, None)
    assert_same([together[3]], [behind_nothing[3]])
    assert together[0][0]["passes"] <= len(together[0][0]["tokens"]) + 1


def test_the_prefix_is_a_pass_of_the_trace(make_task, reference, rows, prefixes, capsys):
    task = make_task(decoding="semi_nar", block_size=3, print_trace=True)
    write(task, [random_model(reference, 8)], rows[:1], prefixes[:1])
    first = capsys.readouterr().out.splitlines()[0]
    assert all(reference.dictionary.symbols[token] in first for token in (30, 31, 32))


def test_refused_where_there_is_no_prefix(make_task, reference, rows, prefixes):
    models = [random_model(reference, 8)]
    with pytest.raises(BangError, match="--prefix-size 3 needs --decoding ar or semi_nar"):
        write(make_task(decoding="nar"), models, rows, prefixes)
    with pytest.raises(BangError, match="--prefix-size needs --decoding"):
        write(make_task(decoding="nar"), models, rows, prefixes, prefix_size=0)
