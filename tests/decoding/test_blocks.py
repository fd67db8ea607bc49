"""Semi-NAR, confident, adaptive and speculative decoding: reference numbers and equalities that must hold."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel, BangModelConfig
from tests.conftest import build_reference_model, build_task

from .conftest import write

MODES = [
    {"decoding": "nar"},
    {"decoding": "semi_nar", "block_size": 1},
    {"decoding": "semi_nar", "block_size": 3},
    {"decoding": "confident", "block_size": 4, "confidence": 0.1},
    {"decoding": "adaptive", "block_size": 4, "tolerance": 0.5},
    {"decoding": "speculative", "block_size": 4},
]


def tokens(hypotheses):
    return [h["tokens"].tolist() for h in hypotheses]


@pytest.mark.parametrize("block_size", [2, 3])
@pytest.mark.parametrize("sentence", [0, 1])
def test_reference_blocks(reference, make_task, model, sentence, block_size):
    source = reference.io["src_tokens"][sentence]
    source = source[source.ne(reference.meta["pad"])]
    task = make_task(decoding="semi_nar", block_size=block_size)
    (hypothesis,) = write(task, model, [source], max_len_b=38)
    expected = reference.nstream[f"block{block_size}_tokens_{sentence}"].tolist()
    eos = reference.meta["eos"]
    if eos in expected:
        expected = expected[: expected.index(eos) + 1]
    assert hypothesis["tokens"].tolist()[: len(expected)] == expected


@pytest.mark.parametrize(
    "mode",
    [
        {"decoding": "semi_nar", "block_size": 1},
        {"decoding": "confident", "block_size": 5, "confidence": 1.1},
        {"decoding": "speculative", "block_size": 1},
        {"decoding": "speculative", "block_size": 2},
        {"decoding": "speculative", "block_size": 7},
    ],
)
def test_equal_to_greedy_ar(make_task, model, rows, mode):
    greedy = write(make_task(), model, rows, beam=1)
    ours = write(make_task(**mode), model, rows)
    assert tokens(ours) == tokens(greedy)
    for a, b in zip(ours, greedy):
        torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-4, rtol=0)
        assert a["score"].item() == pytest.approx(b["score"].item(), abs=1e-5)
        assert a["passes"] <= b["passes"] == len(b["tokens"])


def test_without_confidence_it_is_semi_nar(make_task, model, rows):
    confident = write(make_task(decoding="confident", block_size=3, confidence=0.0), model, rows)
    blocks = write(make_task(decoding="semi_nar", block_size=3), model, rows)
    assert tokens(confident) == tokens(blocks)


def test_confidence_trades_passes(make_task, model, rows):
    passes = []
    for confidence in (0.0, 0.1, 0.2, 1.1):
        task = make_task(decoding="confident", block_size=4, confidence=confidence)
        passes.append(sum(h["passes"] / len(h["tokens"]) for h in write(task, model, rows)))
    assert passes == sorted(passes) and passes[0] < passes[-1]


@pytest.mark.parametrize("mode", MODES)
def test_neighbours_and_padding_change_nothing(make_task, model, rows, mode):
    task = make_task(**mode)
    alone = [write(task, model, [row])[0] for row in rows]
    for options in ({}, {"left_pad": False}, {"pad_to": 20}):
        together = write(task, model, rows, **options)
        assert tokens(together) == tokens(alone)
        for a, b in zip(together, alone):
            torch.testing.assert_close(a["positional_scores"], b["positional_scores"], atol=1e-4, rtol=0)
            assert a["passes"] == b["passes"]


@pytest.mark.parametrize("mode", MODES)
def test_an_ensemble_averages_probabilities(reference, make_task, model, rows, mode):
    single = write(make_task(**mode), model, rows)
    same = write(make_task(**mode), [model, model], rows)
    assert tokens(single) == tokens(same)
    torch.manual_seed(1)
    other = build_reference_model(reference)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    mixed = write(make_task(**mode), [model, other], rows)
    assert tokens(mixed) != tokens(single)


@pytest.mark.parametrize("mode", MODES)
def test_end_of_the_position_table(make_task, model, rows, mode):
    """Sentences that never end are cut where the table ends, in every mode."""
    for hypothesis in write(make_task(**mode), model, rows, max_len_b=200, min_len=100):
        assert len(hypothesis["tokens"]) == 40 and hypothesis["tokens"][-1] == task_eos(make_task)


def task_eos(make_task):
    return make_task().target_dictionary.eos()


@pytest.mark.parametrize("mode", MODES)
def test_length_and_unknown_penalties(make_task, model, rows, mode, reference):
    for hypothesis in write(make_task(**mode), model, rows, max_len_b=6, min_len=3):
        assert 4 <= len(hypothesis["tokens"]) <= 7
    unk = reference.dictionary.unk()
    forced = write(make_task(**mode), model, rows, unkpen=-100.0, max_len_b=5)
    assert all(unk in h["tokens"].tolist() for h in forced)
    avoided = write(make_task(**mode), model, rows, unkpen=100.0)
    assert all(unk not in h["tokens"].tolist() for h in avoided)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), block_size=st.integers(1, 6), scale=st.floats(0.5, 8.0))
def test_speculative_equals_greedy_on_random_models(reference, seed, block_size, scale):
    torch.manual_seed(seed)
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in SIZES.items()}
    cfg = BangModelConfig(max_source_positions=40, max_target_positions=40, **sizes)
    model = BangModel.build_model(cfg, build_task(reference.dictionary)).eval()
    with torch.no_grad():  # sharper distributions, so that some drafts are confirmed
        model.encoder.embed_tokens.weight.mul_(scale)
    rows = [torch.cat([torch.randint(10, 60, (n,)), torch.tensor([8])]) for n in (3, 7, 1)]
    greedy = write(build_task(reference.dictionary), model, rows, beam=1)
    ours = write(build_task(reference.dictionary, decoding="speculative", block_size=block_size), model, rows)
    assert tokens(ours) == tokens(greedy)


SIZES = {"embed_dim": 16, "ffn_embed_dim": 32, "layers": 1, "attention_heads": 2}


@pytest.mark.parametrize("mode", [{"decoding": "ar"}, *MODES])
@pytest.mark.parametrize("options", [{"max_len_b": -1}, {"max_len_a": -0.5}, {"max_len_b": 3, "min_len": 4}])
def test_impossible_lengths(make_task, model, rows, mode, options):
    with pytest.raises(BangError, match="--max-len-[ab] must be at least 0|--min-len 4 is more than --max-len-b 3"):
        write(make_task(**mode), model, rows, **options)


def test_the_limit_of_one_sentence_may_be_nothing(make_task, model, rows):
    """--max-len-a 1 --max-len-b 0 is allowed, since a source has its end symbol at least."""
    for hypothesis, row in zip(write(make_task(decoding="nar"), model, rows, max_len_a=1, max_len_b=0), rows):
        assert len(hypothesis["tokens"]) <= len(row) + 1
