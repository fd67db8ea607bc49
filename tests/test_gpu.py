"""On a GPU: the same numbers as on the CPU, FlexAttention's kernels, half precision.

Where there is none one is pretended: that checks devices, but neither kernels nor their numbers.
"""

import argparse
import copy

import pytest
import torch
from fairseq import utils
from fairseq.modules import FairseqDropout

from bang_plugin.criterions.nstream_loss import NStreamLoss
from bang_plugin.models import decoder
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.models.inference import compile_for_inference
from bang_plugin.modules.attention_backends import CompactAttention, FlexAttention, choose_backend

from .command_line import fairseq, hypotheses
from .conftest import SMALL, build_task

pytestmark = pytest.mark.usefixtures("gpu")
DEVICE = "cuda"
SIZES = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in [("embed_dim", 32), ("layers", 2)]}
SIZES |= {"encoder_ffn_embed_dim": 64, "decoder_ffn_embed_dim": 64, "encoder_attention_heads": 2}
MODES = ["ar", "nar", "semi_nar", "confident", "adaptive", "speculative"]


@pytest.fixture
def there(batch):
    return utils.apply_to_sample(lambda t: t.to(DEVICE), batch)


@pytest.fixture
def wide(reference):
    """A model with random weights, whose heads are as large as FlexAttention's kernels need."""
    torch.manual_seed(0)
    cfg = BangModelConfig(
        **{**SIZES, "decoder_attention_heads": 2},
        attention_dropout=0.0,
        max_source_positions=40,
        max_target_positions=40,
    )
    return BangModel.build_model(cfg, build_task(reference.dictionary)).eval()


def loss_and_gradients(model, batch, task):
    loss, *_ = NStreamLoss(task, ngram=4)(model, batch)
    loss.backward()
    return loss.detach().cpu(), {name: p.grad.cpu() for name, p in model.named_parameters()}


@pytest.mark.parametrize("backend", ["dense", "compact", "flex"])
def test_losses_and_gradients(wide, batch, there, make_task, backend):
    task = make_task()
    expected, gradients = loss_and_gradients(copy.deepcopy(wide), batch, task)
    model = wide.to(DEVICE)
    model.decoder.attention_backend = backend
    loss, found = loss_and_gradients(model, there, task)
    torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-3, rtol=1e-2, msg=name)


@pytest.mark.parametrize("heads, choice", [(2, FlexAttention), (4, CompactAttention)])
def test_flex_is_the_choice_without_attention_dropout(wide, model, there, make_task, monkeypatch, heads, choice):
    """In heads of at least 16 dimensions."""
    chosen = []

    def choose(*arguments):
        chosen.append(choose_backend(*arguments))
        return chosen[-1]

    monkeypatch.setattr(decoder, "choose_backend", choose)
    model = wide if heads == 2 else model
    for module in model.modules():
        if isinstance(module, FairseqDropout):
            module.p = 0.0
    NStreamLoss(make_task(), ngram=4)(model.to(DEVICE).train(), there)
    assert chosen == [choice]


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
    flex = ["--attention-dropout", 0, "--decoder-attention-heads", 2]
    fairseq("train", *base, "--nar-ratio", 0.5, "--ngram", 3, *flex, precision)
    checkpoint = tmp_path / "checkpoint_last.pt"
    for decoding in MODES:
        how = ["--decoding", decoding, *([precision] if precision != "--amp" else [])]
        found = fairseq("generate", toy_data / "bin", "--task", "bang", "--path", checkpoint, *how)
        assert len(hypotheses(found)) == 43
