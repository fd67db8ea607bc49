"""Prefix and chains: reference numbers, visibility by perturbation, equal backends."""

import dataclasses

import pytest
import torch
from torch.nn.attention import flex_attention

from bang_plugin.errors import BangError
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.modules.attention_backends import (
    CompactAttention,
    DenseAttention,
    FlexAttention,
    FusedAttention,
    choose_backend,
)
from bang_plugin.modules.relative_positions import bucket_table
from bang_plugin.modules.streams import teacher_forcing
from tests.conftest import build_reference_model, build_task

BACKENDS = ["dense", "compact", "flex"]
SMALL = {"layers": 1, "embed_dim": 32, "ffn_embed_dim": 64, "attention_heads": 4}
SIZES = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in SMALL.items()}


def stream_logits(model, inputs, n, full=False):
    """Logits ``(batch, tgt_len + n - 1, n, vocab)``: [b, slot, k - 1] is stream k's prediction at a slot."""
    prev = inputs["prev_output_tokens"]
    streams = model.decoder.teacher_forcing(prev, torch.full_like(prev, n), full)
    logits, _ = model(**inputs, streams=streams)
    out = torch.full((len(prev), prev.size(1) + n - 1, n, logits.size(-1)), torch.nan)
    for b, row in enumerate(zip(streams.chain.tolist(), streams.element.tolist())):
        for r, (chain, element) in enumerate(zip(*row)):
            if element:
                out[b, chain + element - 1, element - 1] = logits[b, r]
    return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("full", [False, True])
def test_reference_logits(reference, batch, backend, full):
    model = build_reference_model(reference, attention_backend=backend)
    with torch.no_grad():
        ours = stream_logits(model, batch["net_input"], 4, full)
    for b in range(3):
        expected = reference.nstream[f"nstream_logits_{b}"].transpose(0, 1)  # (slot, stream, vocab)
        anchored = ~expected.isnan()
        got = ours[b, : len(expected)]
        torch.testing.assert_close(got[anchored], expected[anchored], atol=1e-4, rtol=0)
        assert anchored.any(-1).sum() == sum(min(4, slot + 1) for slot in range(len(expected)))


@pytest.mark.parametrize("backend", ["compact", "flex"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_backends_agree(reference, batch, backend, n):
    with torch.no_grad():
        dense = stream_logits(build_reference_model(reference, attention_backend="dense"), batch["net_input"], n)
        other = stream_logits(build_reference_model(reference, attention_backend=backend), batch["net_input"], n)
    torch.testing.assert_close(other, dense, atol=1e-5, rtol=0, equal_nan=True)


def random_inputs(streams):
    """Queries, keys, values and biases for a backend: 2 sentences, 4 heads of 16 dimensions, 32 buckets."""
    rows, keys = streams.positions.size(1), streams.key_positions.size(1)
    torch.manual_seed(0)
    return [torch.randn(2, 4, n, d) for n, d in ((rows, 16), (keys, 16), (keys, 16), (rows, 32))]


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_backends_agree(monkeypatch, compiled):
    """FlexAttention's too, through torch's definition of its backward pass: the kernels need a GPU."""
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *qkv: None)  # it refuses gradients on a CPU
    if compiled:
        kernel = torch.compile(flex_attention.flex_attention, dynamic=True, backend="aot_eager")
        monkeypatch.setattr(FlexAttention, "_kernel", lambda self, q: kernel)
    streams = teacher_forcing(torch.arange(1, 10).repeat(2, 1), None, torch.tensor([[3] * 7 + [2, 1], [1] * 9]))
    values = random_inputs(streams)
    real = torch.cat([torch.ones(2, streams.prefix_len), streams.element > 0], dim=1)[:, None, :, None]
    gradients = []
    for backend in (DenseAttention, CompactAttention, FlexAttention):
        inputs = [x.clone().requires_grad_() for x in values]
        out = backend(streams, bucket_table(32, 128))(*inputs)
        gradients.append(torch.autograd.grad((out * real).pow(2).sum(), inputs))
    for expected, *others in zip(*gradients):
        for other in others:
            torch.testing.assert_close(other, expected, atol=2e-4, rtol=1e-4)


def test_only_elements_with_a_target_are_computed():
    """A span of 9 with 9 streams: 45 of 81 pairs."""
    positions = torch.arange(1, 10).unsqueeze(0)
    remaining = torch.arange(9, 0, -1).unsqueeze(0)
    streams = teacher_forcing(positions, None, remaining)
    assert streams.chain_len == 45 and (streams.element > 0).all()
    assert teacher_forcing(positions, None, remaining, full=True).chain_len == 81


@pytest.mark.parametrize("backend", ["dense", "compact"])
def test_a_target_never_reaches_what_must_not_see_it(reference, batch, backend):
    """Change input y_i: exactly the chains anchored at or after slot i may change, in every stream and slot."""
    model = build_reference_model(reference, attention_backend=backend)
    inputs = {name: value[:1] for name, value in batch["net_input"].items()}
    n, tgt_len = 4, inputs["prev_output_tokens"].size(1)
    with torch.no_grad():
        before = stream_logits(model, inputs, n)
        for i in range(tgt_len):
            changed = {**inputs, "prev_output_tokens": inputs["prev_output_tokens"].clone()}
            changed["prev_output_tokens"][0, i] = 30 + i
            difference = (stream_logits(model, changed, n) - before).abs().amax(-1)[0]  # (slot, stream)
            for slot in range(tgt_len + n - 1):
                for k in range(1, n + 1):
                    anchor = slot - k + 1
                    if 0 <= anchor < tgt_len:
                        assert (difference[slot, k - 1] > 1e-6) == (anchor >= i), (i, slot, k)


def test_bucket_table():
    table = bucket_table(32, 128).tolist()
    assert table[:17] == list(range(17))
    assert table[127] == table[128] == 31
    assert table == sorted(table) and set(table) == set(range(32))


def run_backend(name, streams, dropout):
    """The chosen backend's output for random input, and the same again."""
    inputs = random_inputs(streams)
    backend = choose_backend(name, streams, dropout, 16)(streams, bucket_table(32, 128))
    return backend(*inputs, dropout), backend(*inputs, dropout)


@pytest.mark.parametrize("name", ["auto", "dense", "fused", "compact"])
def test_every_backend_drops_attention_weights(name):
    streams = teacher_forcing(torch.arange(1, 5).repeat(2, 1), None, torch.full((2, 4), 2))
    assert torch.equal(*run_backend(name, streams, 0.0))
    assert not torch.equal(*run_backend(name, streams, 0.5))


def test_flex_is_refused_where_it_cannot_do_what_is_asked():
    streams = teacher_forcing(torch.arange(1, 5).repeat(2, 1), None, torch.full((2, 4), 2))
    with pytest.raises(BangError, match="--attention-dropout 0"):
        choose_backend("flex", streams, 0.1, 16)
    with pytest.raises(BangError, match="GPUs only"):
        choose_backend("flex", streams, 0.0, 16)
    with torch.no_grad():
        assert choose_backend("flex", streams, 0.0, 16) is FlexAttention
        decoding = dataclasses.replace(streams, target_slot=None)
        assert choose_backend("flex", decoding, 0.0, 16) is FusedAttention


def test_flex_needs_16_dimensions_a_head_on_a_gpu(pretended_gpu):
    streams = teacher_forcing(torch.arange(1, 5, device="cuda").repeat(2, 1), None, torch.full((2, 4), 2).cuda())
    assert choose_backend("auto", streams, 0.0, 8) is CompactAttention
    assert choose_backend("auto", streams, 0.0, 16) is choose_backend("flex", streams, 0.0, 16) is FlexAttention
    with pytest.raises(BangError, match="needs 16 dimensions a head on a GPU, here are 8"):
        choose_backend("flex", streams, 0.0, 8)


def test_buckets_follow_their_options(reference):
    tables = []
    for options in ({}, {"num_buckets": 16}, {"relative_max_distance": 20}):
        cfg = BangModelConfig(max_source_positions=40, max_target_positions=40, **SIZES, **options)
        attention = BangModel.build_model(cfg, build_task(reference.dictionary)).decoder.layers[0].ngram_self_attn
        assert len(attention.relative_linear.weight) == 4 * cfg.num_buckets
        assert attention.bucket_table.max() == cfg.num_buckets - 1
        assert len(attention.bucket_table) == cfg.relative_max_distance + 1
        tables.append(attention.bucket_table.tolist())
    assert tables[0] != tables[1] and tables[0] != tables[2]


@pytest.mark.parametrize("options", [{"num_buckets": 1}, {"relative_max_distance": 16}, {"num_buckets": 0}])
def test_impossible_buckets(reference, options):
    cfg = BangModelConfig(max_source_positions=40, max_target_positions=40, **SIZES, **options)
    with pytest.raises(BangError, match="--num-buckets .* --relative-max-distance"):
        BangModel.build_model(cfg, build_task(reference.dictionary))
