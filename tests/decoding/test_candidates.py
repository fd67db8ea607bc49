"""NAR with candidates: the n most probable chains by brute force, and AR's choice among them."""

import itertools

import pytest
import torch

from bang_plugin.decoding.candidates import WINDOW

from .conftest import write

LONGEST = 3


def chains_by_brute_force(task, model, row, own, n):
    """The n most probable (log-probability, tokens) among all chains of about the length of NAR's ``own``."""
    eos, pad = task.target_dictionary.eos(), task.target_dictionary.pad()
    encoder_out = model.encoder(row.unsqueeze(0), src_lengths=torch.tensor([len(row)]))
    cache = model.decoder.new_cache(1)
    cache.first_position += 1
    hidden = model.decoder.rows(None, cache.plan(LONGEST + 1, 0), encoder_out, cache)
    lprobs = model.decoder.output_layer(hidden)[0].log_softmax(-1)
    types = [t for t in range(lprobs.size(1)) if t not in (eos, pad)]
    found = []
    for length in range(1, LONGEST + 1):
        if abs(length + 1 - len(own)) > WINDOW:
            continue
        for tokens in itertools.product(types, repeat=length):
            chain = [*tokens, eos]
            found.append((sum(lprobs[i, token].item() for i, token in enumerate(chain)), chain))
    return sorted(found, reverse=True)[:n]


@pytest.mark.parametrize("more_ends, length", [(0.0, LONGEST), (4.0, 1)])
def test_equals_brute_force(make_task, model, rows, more_ends, length):
    task = make_task(decoding="nar", nar_candidates=5)
    d = task.target_dictionary
    d_types = slice(24, len(d))
    # fewer types than the dictionary has: the others get no probability
    original = model.decoder.output_layer

    def few_types(features):
        logits = original(features)
        logits[..., d_types] = -40.0
        logits[..., d.eos()] += more_ends
        return logits

    model.decoder.output_layer = few_types
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
