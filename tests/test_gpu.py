"""On a GPU: the same numbers as on the CPU, FlexAttention's kernels, half precision. Skipped where there is none."""

import argparse

import pytest
import torch
from fairseq import utils

from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.decoding.inference import compile_for_inference
from bang_plugin.models import decoder
from bang_plugin.modules.attention_backends import FlexAttention, choose_backend

from .command_line import fairseq, hypotheses
from .conftest import SMALL, build_reference_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICE = "cuda"
MODES = ["ar", "nar", "semi_nar", "adaptive", "speculative"]


@pytest.fixture
def there(batch):
    return utils.apply_to_sample(lambda t: t.to(DEVICE), batch)


def loss_and_gradients(model, batch, task):
    loss, *_ = NStreamLoss(task, ngram=4)(model, batch)
    loss.backward()
    return loss.detach().cpu(), {name: p.grad.cpu() for name, p in model.named_parameters()}


@pytest.mark.parametrize("backend", ["dense", "compact", "flex"])
def test_losses_and_gradients(reference, batch, there, make_task, backend):
    task = make_task()
    expected, gradients = loss_and_gradients(build_reference_model(reference), batch, task)
    model = build_reference_model(reference, attention_backend=backend).to(DEVICE)
    loss, found = loss_and_gradients(model, there, task)
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-3, rtol=1e-2, msg=name)


def test_flex_is_the_choice_without_attention_dropout(reference, there, make_task, monkeypatch):
    chosen = []

    def choose(*arguments):
        chosen.append(choose_backend(*arguments))
        return chosen[-1]

    monkeypatch.setattr(decoder, "choose_backend", choose)
    model = build_reference_model(reference, attention_dropout=0.0).to(DEVICE).train()
    NStreamLoss(make_task(), ngram=4)(model, there)
    assert chosen == [FlexAttention]


@pytest.mark.parametrize("decoding", MODES)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_is_written(model, batch, there, make_task, decoding, compiled):
    task = make_task(decoding=decoding)

    def write(sample):
        generator = task.build_generator([model], argparse.Namespace(max_len_b=12))
        return [nbest[0]["tokens"].tolist() for nbest in task.inference_step(generator, [model], sample)]

    expected = write(batch)
    model.to(DEVICE)
    if compiled:
        compile_for_inference(model)
    assert write(there) == expected


@pytest.mark.parametrize("precision", ["--fp16", "--bf16", "--amp"])
def test_training_and_generating_in_half_precision(toy_data, tmp_path, precision):
    options = [option for option in SMALL if option != "--cpu"]
    base = [toy_data / "bin", "--task", "bang", "--save-dir", tmp_path, "--max-update", 20, *options]
    fairseq("train", *base, "--nar-ratio", 0.5, "--ngram", 3, "--attention-dropout", 0, precision)
    checkpoint = tmp_path / "checkpoint_last.pt"
    for decoding in MODES:
        how = ["--decoding", decoding, *([precision] if precision != "--amp" else [])]
        found = fairseq("generate", toy_data / "bin", "--task", "bang", "--path", checkpoint, *how)
        assert len(hypotheses(found)) == 43
