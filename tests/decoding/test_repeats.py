"""``--no-repeat-ngram-size`` outside of fairseq's search: against its search where greedy AR is meant, else by hand."""

import pytest
import torch

from bang_plugin.decoding.repeats import forbid_repeats
from bang_plugin.errors import BangError

from .conftest import write
from .test_lookahead import random_model, sources
from .test_scoring import chain

AS_GREEDY = [
    {"decoding": "semi_nar", "block_size": 1},
    {"decoding": "confident", "block_size": 4, "confidence": 1.1},
    {"decoding": "adaptive", "block_size": 4, "tolerance": 0.0},
    {"decoding": "speculative", "block_size": 2},
    {"decoding": "speculative", "block_size": 5},
]
BLOCKS = [
    {"decoding": "nar", "nar_chunk": 5},
    {"decoding": "semi_nar", "block_size": 3},
    {"decoding": "confident", "block_size": 3, "confidence": 0.05},
    {"decoding": "adaptive", "block_size": 3, "tolerance": 3.0},
]
LIMIT = 16


def repeats(tokens, n):
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return len(ngrams) - len(set(ngrams))


def repeating_model(reference, seed):
    """Its sentences repeat themselves where they may."""
    model = random_model(reference, seed)
    with torch.no_grad():
        model.decoder.embed_tokens.weight[reference.dictionary.eos()] *= 0.7
    return model


def test_what_is_forbidden():
    history = torch.tensor([[5, 6, 5, 7, 5, 1], [5, 6, 5, 1, 1, 1], [5, 1, 1, 1, 1, 1]])
    lengths = torch.tensor([5, 3, 1])
    forbidden = {1: [{5, 6, 7}, {5, 6}, {5}], 2: [{6, 7}, {6}, set()], 3: [set(), set(), set()]}
    for n, expected in forbidden.items():
        lprobs = forbid_repeats(torch.zeros(3, 9), history, lengths, n)
        assert [set(row.isneginf().nonzero().flatten().tolist()) for row in lprobs] == expected
        assert set(lprobs[lprobs.isfinite()].tolist()) == {0.0}
    again = torch.tensor([[3, 4, 8, 3, 4]])
    assert forbid_repeats(torch.zeros(1, 9), again, torch.tensor([5]), 3).isneginf().nonzero().tolist() == [[0, 8]]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("mode", AS_GREEDY, ids=str)
def test_equals_greedy_search(reference, make_task, mode, n):
    differs = 0
    for seed in range(3):
        model, rows = repeating_model(reference, seed), sources(reference, 8, seed)
        options = {"max_len_b": LIMIT, "min_len": 8, "no_repeat_ngram_size": n}
        greedy = write(make_task(), model, rows, **options)
        for ours, theirs in zip(write(make_task(**mode), model, rows, **options), greedy):
            assert ours["tokens"].tolist() == theirs["tokens"].tolist()
            torch.testing.assert_close(ours["positional_scores"], theirs["positional_scores"], atol=1e-4, rtol=0)
        free = write(make_task(), model, rows, max_len_b=LIMIT, min_len=8)
        differs += sum(a["tokens"].tolist() != b["tokens"].tolist() for a, b in zip(greedy, free))
    assert differs > 0


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("mode", BLOCKS, ids=str)
def test_nothing_comes_again(reference, make_task, mode, n):
    model, rows = repeating_model(reference, 1), sources(reference, 8)
    free = write(make_task(**mode), model, rows, max_len_b=LIMIT)
    found = write(make_task(**mode), model, rows, max_len_b=LIMIT, no_repeat_ngram_size=n)
    assert sum(repeats(h["tokens"].tolist(), n) for h in free) > 0
    assert sum(repeats(h["tokens"].tolist(), n) for h in found) == 0
    alone = [write(make_task(**mode), model, [row], max_len_b=LIMIT, no_repeat_ngram_size=n)[0] for row in rows]
    assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in alone]


def test_blocks_by_hand(reference, make_task):
    """Each token is the best of its place that repeats nothing before it, in its own block or an earlier one."""
    model, rows, d = repeating_model(reference, 1), sources(reference, 4), reference.dictionary
    found = write(make_task(decoding="semi_nar", block_size=3), model, rows, max_len_b=LIMIT, no_repeat_ngram_size=2)
    for hypothesis, row in zip(found, rows):
        written: list = []
        while d.eos() not in written and len(written) < LIMIT:
            output = torch.tensor([*written, d.eos()])
            for lprobs in chain([model], row, output, len(written), 3):
                allowed = lprobs.clone()
                allowed[d.pad()] = -torch.inf
                if not written:
                    allowed[d.eos()] = -torch.inf
                for a, b in zip(written, written[1:]):
                    if a == written[-1]:
                        allowed[b] = -torch.inf
                written.append(int(allowed.argmax()))
        ended = [*written, d.eos()]
        expected = ended[: ended.index(d.eos())][:LIMIT]
        assert hypothesis["tokens"].tolist() == [*expected, d.eos()]


def test_samples_repeat_nothing(reference, make_task):
    model, rows = repeating_model(reference, 1), sources(reference, 8)
    for mode in BLOCKS[:2]:
        torch.manual_seed(1)
        found = write(make_task(**mode), model, rows, max_len_b=LIMIT, no_repeat_ngram_size=1, sampling=True)
        assert sum(repeats(h["tokens"].tolist(), 1) for h in found) == 0


def test_end_symbols_that_are_passed_over_may_come_again(reference, make_task):
    model, rows = random_model(reference, 1), sources(reference, 8)
    with torch.no_grad():
        model.decoder.embed_tokens.weight[reference.dictionary.eos()] *= 3
    task = make_task(decoding="nar", collapse_repeats=True)
    found = write(task, model, rows, max_len_b=LIMIT, no_repeat_ngram_size=1)
    assert all(h["tokens"][-1] == reference.dictionary.eos() for h in found)
    assert any(h["kept"] > len(h["tokens"]) for h in found)


def test_candidates_are_refused(reference, make_task):
    task = make_task(decoding="nar", nar_candidates=4)
    with pytest.raises(BangError, match="--nar-candidates 4 .* leave out --no-repeat-ngram-size"):
        write(task, random_model(reference, 1), sources(reference, 1), no_repeat_ngram_size=2)
