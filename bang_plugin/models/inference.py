"""Prepares a model for generating: weights packed for a CPU, lower precision, or compiled layers."""

import logging

import torch
from fairseq.models import FairseqEncoderDecoderModel

from ..errors import BangError
from ..modules.packed_linear import available

logger = logging.getLogger(__name__)

QUANTIZE = ("none", "bf16", "int8")


def pack_for_inference(model: FairseqEncoderDecoderModel, quantize: str = "none") -> None:
    """Lay out the weights of all linear layers for generation on a CPU; the model can then do nothing else.

    Models on an accelerator or in another precision than float32 stay as they are.

    Args:
        model: ``BangModel`` in float32 on the CPU.
        quantize: ``none``: the same numbers up to rounding, only faster; ``bf16`` and ``int8``: linear layers in
            lower precision, for speed and memory at the price of some tokens that differ.

    Raises:
        BangError: if ``quantize`` is asked for and cannot be had.
    """
    weight = model.decoder.embed_tokens.weight
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    if quantize != "none" and not on_cpu:
        raise BangError(f"--quantize {quantize} needs --cpu and float32 (no --fp16 or --bf16)")
    precision = "float32" if quantize == "none" else quantize
    if not on_cpu or quantize == "none" and not available():
        return
    with torch.no_grad():
        model.encoder.pack(precision)
        model.decoder.pack(precision)
    if quantize != "none":
        logger.info("--quantize %s: linear layers in %s", quantize, quantize)


def compile_for_inference(model: FairseqEncoderDecoderModel) -> None:
    """Let ``torch.compile`` fuse the small operations inside every layer, so that a pass launches fewer kernels.

    Layers are compiled when they first run, which takes half a minute or so, and anew when a pass is of another kind
    (one sentence or several, the first pass or a later one); torch says so where it gives that up.

    Args:
        model: ``BangModel``.
    """
    if model.decoder.embed_tokens.weight.device.type == "cpu":
        logger.warning("--compile on a CPU takes the place of packed weights, which are faster there")
    for layer in (*model.encoder.layers, *model.decoder.layers):
        layer.compile(dynamic=True)
