"""NAR's n best chains by brute force, as hypotheses and as candidates of which AR chooses one."""

import itertools

import pytest
import torch

from bang_plugin.decoding.candidates import WINDOW
from bang_plugin.errors import BangError

from .conftest import write, write_all

LONGEST = 3


def chains_by_brute_force(task, model, row, own, n, lenpen=1.0):
    """The n best (score, tokens) among all chains of about the length of NAR's ``own``."""
    eos, pad = task.target_dictionary.eos(), task.target_dictionary.pad()
    encoder_out = model.encoder(row.unsqueeze(0), src_lengths=torch.tensor([len(row)]))
    cache = model.decoder.new_cache(1)
    cache.first_position += 1
    hidden = model.decoder.rows(None, cache.plan(LONGEST + 1, 0), encoder_out, cache)
    lprobs = model.decoder.output_layer(hidden)[0].log_softmax(-1)
    types = [t for t in range(lprobs.size(1)) if t not in (eos, pad) and lprobs[:, t].max() > -30]
    lprobs = lprobs.tolist()
    found = []
    for length in range(1, LONGEST + 1):
        if abs(length + 1 - len(own)) > WINDOW:
            continue
        for tokens in itertools.product(types, repeat=length):
            chain = [*tokens, eos]
            total = sum(lprobs[i][token] for i, token in enumerate(chain))
            found.append((total / len(chain) ** lenpen, chain))
    return sorted(found, reverse=True)[:n]


def with_few_types(model, eos, more_ends):
    """Fewer types than the dictionary has: the others get no probability. Returns the changed output layer."""
    original = model.decoder.output_layer

    def few_types(features):
        logits = original(features)
        logits[..., 24:] = -40.0
        logits[..., eos] += more_ends
        return logits

    model.decoder.output_layer = few_types
    return few_types


@pytest.mark.parametrize("more_ends", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("lenpen", [0.0, 1.0, 2.5])
def test_hypotheses_equal_brute_force(make_task, model, rows, more_ends, lenpen):
    """All of them, best first, with NAR's log-probabilities, whatever stands beside them in the batch."""
    with_few_types(model, make_task().target_dictionary.eos(), more_ends)
    options = {"max_len_b": LONGEST, "lenpen": lenpen}
    owns = write(make_task(decoding="nar"), model, rows, **options)
    found = write_all(make_task(decoding="nar", nar_chunk=2), model, rows, nbest=6, **options)
    for row, own, hypotheses in zip(rows[:3], owns, found):
        expected = chains_by_brute_force(make_task(), model, row, own["tokens"], 6, lenpen)
        assert [h["tokens"].tolist() for h in hypotheses] == [chain for _, chain in expected]
        assert [h["score"].item() for h in hypotheses] == pytest.approx([score for score, _ in expected], abs=1e-4)
        for h in hypotheses:
            total = h["positional_scores"].sum().item()
            assert total / len(h["tokens"]) ** lenpen == pytest.approx(h["score"].item(), abs=1e-4)


def test_fewer_chains_than_asked_for(make_task, model, rows):
    found = write_all(make_task(decoding="nar"), model, rows, nbest=64, max_len_b=1, min_len=1)
    for hypotheses in found:
        texts = [h["tokens"].tolist() for h in hypotheses]
        assert 1 < len(texts) < 64 and len(set(map(tuple, texts))) == len(texts)
        scores = [h["score"].item() for h in hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_hypotheses_among_candidates_are_scored_by_ar(make_task, model, rows):
    (best, *more) = zip(*write_all(make_task(decoding="nar", nar_candidates=6), model, rows, nbest=3))
    alone = write(make_task(decoding="nar", nar_candidates=6), model, rows)
    assert [h["tokens"].tolist() for h in best] == [h["tokens"].tolist() for h in alone]
    for hypotheses in zip(best, *more):
        scores = [h["score"].item() for h in hypotheses]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    for options in ({"sampling": True}, {"temperature": 0.5}, {"no_repeat_ngram_size": 2}):
        with pytest.raises(BangError, match="--nbest 2 takes the best chains.*: leave out --"):
            write(make_task(decoding="nar"), model, rows, nbest=2, **options)
    with pytest.raises(BangError, match="--nbest 3 is more than --nar-candidates 2"):
        write(make_task(decoding="nar", nar_candidates=2), model, rows, nbest=3)
    with pytest.raises(BangError, match="--nbest 2 needs --decoding ar or nar or speculative"):
        write(make_task(decoding="semi_nar"), model, rows, nbest=2)


@pytest.mark.parametrize("more_ends, length", [(0.0, LONGEST), (4.0, 1)])
def test_equals_brute_force(make_task, model, rows, more_ends, length):
    task = make_task(decoding="nar", nar_candidates=5)
    d = task.target_dictionary
    few_types = with_few_types(model, d.eos(), more_ends)
    for row in rows[:2]:
        (own,) = write(make_task(decoding="nar"), model, [row], max_len_b=LONGEST)
        assert len(own["tokens"]) == length + 1
        with torch.no_grad():
            expected = chains_by_brute_force(task, model, row, own["tokens"], 5)
            scores = []
            for _, chain in expected:
                prev = torch.tensor([[d.eos(), *chain[:-1]]])
                del model.decoder.output_layer
                logits, _ = model(row.unsqueeze(0), torch.tensor([len(row)]), prev)
                model.decoder.output_layer = few_types
                lprobs = logits[0].log_softmax(-1)
                scores.append([lprobs[i, token].item() for i, token in enumerate(chain)])
        best = max(range(5), key=lambda k: sum(scores[k]) / len(scores[k]))
        (hypothesis,) = write(task, model, [row], max_len_b=LONGEST)
        assert hypothesis["tokens"].tolist() == expected[best][1]
        assert hypothesis["positional_scores"].tolist() == pytest.approx(scores[best], abs=1e-4)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_neighbours_padding_and_chunks_change_nothing(make_task, model, rows, chunk):
    alone = [write(make_task(decoding="nar", nar_candidates=4), model, [row])[0]["tokens"].tolist() for row in rows]
    task = make_task(decoding="nar", nar_candidates=4, nar_chunk=chunk)
    for options in ({}, {"left_pad": False, "pad_to": 20}):
        assert [h["tokens"].tolist() for h in write(task, model, rows, **options)] == alone


def test_more_candidates_are_never_less_probable(make_task, model, rows):
    totals = []
    for n in (2, 4, 16):
        found = write(make_task(decoding="nar", nar_candidates=n), model, rows, min_len=6, max_len_b=12)
        totals.append([h["score"].item() for h in found])
    for few, more in zip(totals, totals[1:]):
        assert all(b >= a - 1e-4 for a, b in zip(few, more))
    assert sum(totals[-1]) > sum(totals[0])


def test_more_candidates_than_there_are_chains(make_task, model, rows, reference):
    """At most 1 + 60 chains of up to one token; the end alone is below the minimal length."""
    for n in (50, 59, 200):
        found = write(make_task(decoding="nar", nar_candidates=n), model, rows, max_len_b=1, min_len=1)
        assert all(len(h["tokens"]) == 2 and reference.dictionary.eos() == h["tokens"][-1] for h in found)


def test_one_more_pass(make_task, model, rows):
    plain = write(make_task(decoding="nar"), model, rows)
    judged = write(make_task(decoding="nar", nar_candidates=3), model, rows)
    assert {h["passes"] for h in plain} == {1} and {h["passes"] for h in judged} == {2}
