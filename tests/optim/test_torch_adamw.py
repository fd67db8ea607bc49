"""torch's AdamW as an optimizer of fairseq: fairseq's numbers, its command line, its checkpoints."""

import copy

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import OmegaConf

from bang_plugin.errors import BangError
from bang_plugin.optim import torch_adamw
from bang_plugin.optim.torch_adamw import TorchAdamW, TorchAdamWConfig, betas

from ..conftest import train_toy

OPTIONS = {"lr": [1e-3], "adam_betas": "(0.9, 0.98)", "weight_decay": 0.01}


def build(kind, config, params, **options):
    return kind(OmegaConf.structured(config(**{**OPTIONS, **options})), params)


def parameters() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((7, 5), (33,), (2, 3, 4))]


def step(optimizer, params, k: int) -> None:
    """An update with gradients that only ``k`` decides; every other one leaves the last parameter out."""
    draw = torch.Generator().manual_seed(k)
    for parameter in params[: len(params) - k % 2]:
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimizer.set_lr(1e-3 / (k + 1))
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.0}])
def test_weights_are_those_of_fairseqs_adam(fused, options, monkeypatch):
    if not fused:
        monkeypatch.setattr(torch_adamw, "has_fused_kernel", lambda device, dtype: False)
    ours, theirs = parameters(), parameters()
    optimizer = build(TorchAdamW, TorchAdamWConfig, ours, **options)
    peer = build(FairseqAdam, FairseqAdamConfig, theirs, use_old_adam=True, tpu=False, **options)
    assert optimizer.fused == fused
    for k in range(20):
        step(optimizer, ours, k)
        step(peer, theirs, k)
    moved = max((a - b).abs().max().item() for a, b in zip(ours, parameters()))
    assert moved > 1e-3
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_epsilon_is_in_the_divisor():
    """The first step is lr times the gradient's sign; as large an epsilon as the gradient's root square halves it."""
    for epsilon, expected in ((1e-8, 1.0), (2.0, 0.5)):
        weight = torch.nn.Parameter(torch.zeros(3))
        optimizer = build(TorchAdamW, TorchAdamWConfig, [weight], adam_eps=epsilon, weight_decay=0.0)
        weight.grad = torch.full((3,), 2.0)
        optimizer.set_lr(1e-3)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), torch.full((3,), -1e-3 * expected))


def test_goes_on_without_the_fused_kernel(monkeypatch):
    ours, theirs = parameters(), parameters()
    optimizer = build(TorchAdamW, TorchAdamWConfig, ours)
    for k in range(3):
        step(optimizer, ours, k)
    monkeypatch.setattr(torch_adamw, "has_fused_kernel", lambda device, dtype: False)
    with torch.no_grad():
        for a, b in zip(ours, theirs):
            b.copy_(a)
    plain = build(TorchAdamW, TorchAdamWConfig, theirs)
    plain.load_state_dict(copy.deepcopy(optimizer.state_dict()), {"weight_decay": 0.01})
    assert not plain.param_groups[0]["fused"] and optimizer.param_groups[0]["fused"]
    step(optimizer, ours, 3)
    step(plain, theirs, 3)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_groups_of_parameters():
    first, second, third = parameters()
    optimizer = build(TorchAdamW, TorchAdamWConfig, [{"params": [first, second]}, {"params": [third], "lr": 0.5}])
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 0.5] and optimizer.fused


@pytest.mark.parametrize("value", ["(0.9, 0.98)", [0.9, 0.98], OmegaConf.create([0.9, 0.98])])
def test_betas(value):
    assert betas(value) == (0.9, 0.98)


@pytest.mark.parametrize("value", ["0.9", "(0.9, 1)", "(0.9, 0.98, 1)", "__import__('os')", "(0.9", None])
def test_bad_betas_are_one_line(value):
    with pytest.raises(BangError, match="--adam-betas .*: not two numbers"):
        betas(value)


def test_trains_and_resumes_bit_for_bit(toy_data, tmp_path):
    options = ["--optimizer", "torch_adamw", "--adam-betas", "(0.9, 0.98)", "--weight-decay", 0.01, "--nar-ratio", 0.5]
    whole = torch.load(train_toy(toy_data, tmp_path / "whole", 12, *options), weights_only=True)
    train_toy(toy_data, tmp_path / "parts", 5, *options)
    parts = torch.load(train_toy(toy_data, tmp_path / "parts", 12, *options), weights_only=True)
    assert whole["optimizer_history"][-1]["optimizer_name"] == "TorchAdamW"
    assert whole["optimizer_history"][-1]["num_updates"] == parts["optimizer_history"][-1]["num_updates"] == 12
    assert all(torch.equal(whole["model"][name], parts["model"][name]) for name in whole["model"])
    states = [checkpoint["last_optimizer_state"]["state"] for checkpoint in (whole, parts)]
    for one, other in zip(states[0].values(), states[1].values(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
