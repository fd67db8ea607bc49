"""The dial: verified drafts with a tolerance, from greedy AR to whole blocks, against the model's own logits."""

import math

import pytest
import torch

from bang_plugin.errors import BangError
from tests.conftest import build_task

from .conftest import write
from .test_lookahead import random_model, sources
from .test_scoring import chain, score

LIMIT = 14


def dial(reference, tolerance, block_size=4):
    return build_task(reference.dictionary, decoding="adaptive", block_size=block_size, tolerance=tolerance)


def ending_model(reference, seed):
    """Its sentences may end anywhere."""
    model, ends = random_model(reference, seed), torch.zeros(len(reference.dictionary))
    ends[reference.dictionary.eos()] = 6.0
    logits = model.decoder.output_layer
    model.decoder.output_layer = lambda features: logits(features) + ends
    return model


def allowed(lprobs, place, dictionary, min_len, unkpen):
    """What may be written at a place."""
    lprobs = lprobs.clone()
    lprobs[dictionary.pad()] = -torch.inf
    lprobs[dictionary.unk()] -= unkpen
    if place < min_len:
        lprobs[dictionary.eos()] = -torch.inf
    if place == LIMIT:
        lprobs[torch.arange(len(lprobs)) != dictionary.eos()] = -torch.inf
    return lprobs


def by_hand(models, row, dictionary, block_size, tolerance, min_len=1, unkpen=0.0):
    """Tokens, their log-probabilities, how much less probable than the best each is, and passes."""
    written, scores, gaps, draft, passes = [], [], [], [], 0

    def after(size):
        output = torch.tensor([*written, dictionary.eos()])
        chains = chain(models, row, output, len(written), size)
        return [allowed(lprobs, len(written) + j, dictionary, min_len, unkpen) for j, lprobs in enumerate(chains)]

    def put(token, lprobs):
        written.append(int(token))
        scores.append(float(lprobs[token]))
        gaps.append(float(lprobs.max() - lprobs[token]))
        return written[-1] == dictionary.eos()

    while True:
        passes += 1
        right = True
        for guess in draft:
            (lprobs,) = after(1)
            right = bool(lprobs[guess] >= lprobs.max() - tolerance)
            if put(guess if right else lprobs.argmax(), lprobs):
                return written, scores, gaps, passes
            if not right:
                break
        draft = []
        if right:
            first, *others = after(block_size)
            if put(first.argmax(), first):
                return written, scores, gaps, passes
            draft = [int(lprobs.argmax()) for lprobs in others]


@pytest.mark.parametrize("options", [{}, {"min_len": 6}, {"unkpen": -2.0}], ids=str)
@pytest.mark.parametrize("tolerance", [0.0, 0.5, 3.0])
def test_against_the_rule_by_hand(reference, tolerance, options):
    """And no token lies under the tolerance, while some are not the best ones, end symbols among them."""
    dictionary, below, ends = reference.dictionary, 0, 0
    for seed in range(3):
        model, rows = ending_model(reference, seed), sources(reference, 6, seed)
        found = write(dial(reference, tolerance), model, rows, max_len_b=LIMIT, **options)
        for hypothesis, row in zip(found, rows):
            tokens, scores, gaps, passes = by_hand([model], row, dictionary, 4, tolerance, **options)
            assert hypothesis["tokens"].tolist() == tokens and hypothesis["passes"] == passes
            torch.testing.assert_close(hypothesis["positional_scores"], torch.tensor(scores), atol=1e-4, rtol=0)
            assert max(gaps) <= tolerance + 1e-5
            below, ends = below + sum(gap > 0 for gap in gaps), ends + (gaps[-1] > 0)
    assert (below > 0) == (tolerance > 0)
    assert (ends > 0) == (tolerance > 0)


def test_ensembles(reference):
    models, rows = [random_model(reference, seed) for seed in (5, 6)], sources(reference, 6)
    for hypothesis, row in zip(write(dial(reference, 1.0, 3), models, rows, max_len_b=LIMIT), rows):
        tokens, scores, _, passes = by_hand(models, row, reference.dictionary, 3, 1.0)
        assert hypothesis["tokens"].tolist() == tokens and hypothesis["passes"] == passes
        torch.testing.assert_close(hypothesis["positional_scores"], torch.tensor(scores), atol=1e-4, rtol=0)


@pytest.mark.parametrize("block_size", [1, 2, 4, 7])
def test_nothing_tolerated_is_greedy_ar(reference, block_size):
    model, rows = random_model(reference, 3), sources(reference, 8)
    exact = build_task(reference.dictionary, decoding="speculative", block_size=block_size)
    greedy, ours, theirs = (
        write(task, model, rows, max_len_b=LIMIT)
        for task in (build_task(reference.dictionary), dial(reference, 0.0, block_size), exact)
    )
    for a, b, c in zip(greedy, ours, theirs):
        assert a["tokens"].tolist() == b["tokens"].tolist() == c["tokens"].tolist()
        torch.testing.assert_close(b["positional_scores"], a["positional_scores"], atol=1e-4, rtol=0)
        assert b["passes"] == c["passes"] <= a["passes"]


@pytest.mark.parametrize("block_size", [1, 2, 4, 7])
def test_everything_tolerated_is_semi_nar(reference, block_size):
    """Its blocks, whole, with AR's probabilities; the first pass writes one token, and every other a block."""
    model, rows = random_model(reference, 4), sources(reference, 8)
    semi_nar = build_task(reference.dictionary, decoding="semi_nar", block_size=block_size)
    blocks = write(semi_nar, model, rows, max_len_b=LIMIT)
    ours = write(dial(reference, math.inf, block_size), model, rows, max_len_b=LIMIT)
    scored = score(build_task(reference.dictionary), model, rows, [h["tokens"] for h in ours])
    for a, b, c in zip(blocks, ours, scored):
        assert a["tokens"].tolist() == b["tokens"].tolist()
        assert b["passes"] == 1 + math.ceil((len(b["tokens"]) - 1) / block_size)
        torch.testing.assert_close(b["positional_scores"], c["positional_scores"], atol=1e-4, rtol=0)
    if block_size > 1:
        assert any(len(h["tokens"]) > h["passes"] for h in ours)


def test_more_tolerance_fewer_passes(reference):
    model, rows = random_model(reference, 1), sources(reference, 16)
    passes = []
    for tolerance in (0.0, 0.5, 1.0, 3.0, math.inf):
        found = write(dial(reference, tolerance), model, rows, max_len_b=LIMIT)
        passes.append(sum(h["passes"] / len(h["tokens"]) for h in found))
    assert passes == sorted(passes, reverse=True) and passes[0] > passes[2] > passes[-1]


@pytest.mark.parametrize("tolerance", [-0.5, math.nan])
def test_bad_tolerance(reference, tolerance):
    with pytest.raises(BangError, match="^--tolerance must be at least 0, not"):
        dial(reference, tolerance)
