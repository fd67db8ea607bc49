"""Packed and compiled layers give the same numbers in float32, packed ones nearly the same in lower precision."""

import copy

import pytest
import torch
from omegaconf import OmegaConf

from bang_plugin.errors import BangError
from bang_plugin.models.inference import compile_for_inference, pack_for_inference
from bang_plugin.modules.packed_linear import PackedLinear, available

from ..conftest import build_task
from ..decoding.conftest import write

TOLERANCE = {"none": 1e-4, "bf16": 0.05, "int8": 0.1}  # of logits that reach about 4


def packed(model, quantize):
    if not available("float32" if quantize == "none" else quantize):
        pytest.skip(f"no {quantize} here")
    copied = copy.deepcopy(model).eval()
    pack_for_inference(copied, quantize)
    return copied


def logits(model, io):
    with torch.no_grad():
        return model.eval()(io["src_tokens"], io["src_lengths"], io["prev_output_tokens"])[0]


@pytest.mark.parametrize("quantize", TOLERANCE)
def test_logits(reference, model, quantize):
    expected = logits(model, reference.io)
    other = packed(model, quantize)
    assert not any(isinstance(part, torch.nn.Linear) for part in other.decoder.modules())
    found = logits(other, reference.io)
    real = reference.io["target"].ne(reference.dictionary.pad())
    error = (found - expected)[real].norm() / expected[real].norm()
    assert error < TOLERANCE[quantize]


@pytest.mark.parametrize("decoding", ["ar", "nar", "semi_nar", "speculative"])
def test_packed_float32_writes_the_same(reference, model, rows, decoding):
    task = build_task(reference.dictionary, decoding=decoding)
    expected = write(task, model, rows)
    for a, b in zip(expected, write(task, packed(model, "none"), rows)):
        assert a["tokens"].tolist() == b["tokens"].tolist()
        assert torch.allclose(a["positional_scores"], b["positional_scores"], atol=1e-4)


def test_int8_weights_take_a_quarter_of_the_memory():
    weight = torch.randn(64, 32)
    layer = PackedLinear(weight, None, "int8")
    found, bias = torch.ops.quantized.linear_unpack(layer.packed)
    assert bias is None and found.int_repr().dtype == torch.int8
    assert (found.dequantize() - weight).abs().amax(1).le(weight.abs().amax(1) / 254 + 1e-6).all()


def test_lower_precision_is_refused_elsewhere(model):
    with pytest.raises(BangError, match="--quantize int8 needs --cpu and float32"):
        pack_for_inference(model.half(), "int8")


def test_half_precision_models_stay_as_they_are(model):
    model = model.half()
    before = set(model.state_dict())
    pack_for_inference(model, "none")
    assert set(model.state_dict()) == before


def test_a_packed_model_cannot_change_its_type(model):
    other = packed(model, "none")
    other.float()
    with pytest.raises(BangError, match="load it anew"):
        other.half()


@pytest.mark.parametrize("precision", ["float32", "bf16", "int8"])
@pytest.mark.parametrize(
    "activation, function", [("none", None), ("gelu", torch.nn.functional.gelu), ("relu", torch.relu)]
)
def test_activations(precision, activation, function):
    if not available(precision):
        pytest.skip(f"no {precision} here")
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(32, 64), torch.randn(3, 5, 32)
    found = PackedLinear(linear.weight, linear.bias, precision, activation)(x)
    expected = function(linear(x)) if function else linear(x)
    assert torch.allclose(found, expected, atol={"float32": 1e-5, "bf16": 0.02, "int8": 0.05}[precision])


def config(**task):
    return OmegaConf.create({"common": {"cpu": True}, "generation": {"beam": 1}, "task": task})


@pytest.mark.parametrize("quantize", ["none", "bf16", "int8"])
def test_fairseq_generate_packs_what_it_loads(model, quantize):
    if not available("float32" if quantize == "none" else quantize):
        pytest.skip(f"no {quantize} here")
    model.prepare_for_inference_(config(quantize=quantize))
    precisions = {part.precision for part in model.modules() if isinstance(part, PackedLinear)}
    assert precisions == {"float32" if quantize == "none" else quantize}


def test_a_model_that_may_move_to_the_gpu_is_not_packed(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    there = config()
    there.common.cpu = False
    model.prepare_for_inference_(there)
    assert not any(isinstance(part, PackedLinear) for part in model.modules())


@pytest.mark.parametrize("decoding", ["ar", "nar", "speculative"])
def test_compiled_layers_write_the_same(reference, model, rows, decoding, compiled_quickly):
    task = build_task(reference.dictionary, decoding=decoding)
    expected = write(task, model, rows[:3], max_len_b=5)
    compile_for_inference(model)
    for a, b in zip(expected, write(task, model, rows[:3], max_len_b=5)):
        assert a["tokens"].tolist() == b["tokens"].tolist()
        assert torch.allclose(a["positional_scores"], b["positional_scores"], atol=1e-4)
    compiled = torch._dynamo.utils.counters
    assert compiled["stats"]["unique_graphs"] > 0 and not compiled["graph_break"]


@pytest.mark.slow
def test_the_compiled_kernels_write_the_same(reference, model, rows):
    """With torch's code generator, as users have it."""
    task = build_task(reference.dictionary, decoding="nar")
    expected = write(task, model, rows)
    compile_for_inference(model)
    for a, b in zip(expected, write(task, model, rows)):
        assert a["tokens"].tolist() == b["tokens"].tolist()
        assert torch.allclose(a["positional_scores"], b["positional_scores"], atol=1e-4)


def test_compile_takes_the_place_of_packing(model, caplog):
    model.prepare_for_inference_(config(compile=True))
    assert not any(isinstance(part, PackedLinear) for part in model.modules())
    assert "packed weights, which are faster there" in caplog.text
    with pytest.raises(BangError, match="--compile cannot be had with --quantize int8"):
        model.prepare_for_inference_(config(compile=True, quantize="int8"))
