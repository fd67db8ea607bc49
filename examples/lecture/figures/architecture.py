"""Figure 3: the model, drawn from the module tree of ``bang_base`` with the sizes that its parameters have."""

from functools import cache

import torch
from torch import nn

from ..registry import figure
from ..svg import CHAIN, FAINT, KEPT, PLAIN, PREFIX, Drawing

WIDTH, HIGH = 290, 34


@cache
def model() -> nn.Module:
    """``bang_base`` with the release's vocabulary size, without memory for its parameters."""
    from scripts.bench import models

    dictionary = models.make_dictionary(models.BASE)
    with torch.device("meta"):
        return models.bang(models.BASE, dictionary, ngram=9)


def sizes(module: nn.Module) -> str:
    """Shape of a module's weights, ``in → out``."""
    if isinstance(module, nn.Embedding):
        return " × ".join(f"{n:,}" for n in module.weight.shape)
    return f"{module.in_features:,} → {module.out_features:,}"


def count(module: nn.Module) -> str:
    """Its parameters in millions."""
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f} M"


def parts(layer: nn.Module, say) -> list[tuple[str, str]]:
    """A layer's sub-layers in the order in which its module holds them, and their colours."""
    found = []
    for name, module in layer.named_children():
        if name.endswith("self_attn"):
            heads = f"{module.num_heads} " + say("heads", "头")
            if hasattr(module, "num_buckets"):
                buckets = f"{module.num_buckets} " + say("buckets", "个桶")
                found.append((say("n-stream attention", "n 流注意力") + f", {heads}, {buckets}", CHAIN))
            else:
                found.append((say("self-attention", "自注意力") + f", {heads}", PREFIX))
        elif name == "encoder_attn":
            found.append((say("cross-attention", "交叉注意力") + f", {module.num_heads} " + say("heads", "头"), PREFIX))
        elif name == "fc1":
            found.append((f"FFN {sizes(module)} → {layer.fc2.out_features:,}", KEPT))
        elif isinstance(module, nn.LayerNorm):
            found.append((f"LayerNorm {module.normalized_shape[0]:,}", PLAIN))
    return found


def ordered(layer: nn.Module, say) -> list[tuple[str, str]]:
    """Sub-layers as they are computed: post-LayerNorm, each norm behind its own; norms are registered out of order."""
    norms = [part for part in parts(layer, say) if part[1] == PLAIN]
    others = [part for part in parts(layer, say) if part[1] != PLAIN]
    return [part for pair in zip(others, norms) for part in pair]


def column(drawing: Drawing, x: float, title: str, layers: nn.ModuleList, inputs: list[tuple[str, str]], say) -> None:
    """One side, from its inputs below to its last layer above."""
    inner = ordered(layers[0], say)
    top = 76
    drawing.text(x + WIDTH / 2, 48, title, 16, "middle", bold=True)
    high = len(inner) * (HIGH + 6) + 12
    drawing.rect(x - 12, top, WIDTH + 24, high, "#fafafa", dash="5 3")
    drawing.text(x + WIDTH + 18, top + high / 2, f"× {len(layers)}", 18, bold=True)
    for number, (name, fill) in enumerate(reversed(inner)):
        drawing.box(x, top + 9 + number * (HIGH + 6), WIDTH, HIGH, name, fill)
    y = 76 + 6 * (HIGH + 6) + 36
    drawing.line(x + WIDTH / 2, y, x + WIDTH / 2, top + high + 2, arrow=True)
    for number, (name, fill) in enumerate(inputs):
        drawing.box(x, y + number * (HIGH + 6), WIDTH, HIGH, name, fill)


@figure(3, code=("bang_plugin/models/bang.py", "bang_plugin/models/encoder.py", "bang_plugin/models/decoder.py"))
def architecture(found, say) -> str:
    bang = model()
    encoder, decoder = bang.encoder, bang.decoder
    drawing = Drawing(860, 540, say("The architecture", "模型结构"))
    total = say("parameters", "参数量")
    drawing.text(20, 24, f"bang_base: {count(bang)} {total}", 15, bold=True)
    left, right = 40, 470
    norm, words = say("LayerNorm of the sum", "求和后 LayerNorm"), say("tokens", "词嵌入")
    place, masks = say("positions", "位置嵌入"), say("mask", "掩码嵌入")
    shared = say("shared by both sides and the output", "两侧与输出层共享")
    inputs = [(norm, PLAIN), (f"{words} {sizes(encoder.embed_tokens)}", PREFIX)]
    column(
        drawing,
        left,
        say("encoder", "编码器") + f" {count(encoder.layers)}",
        encoder.layers,
        [*inputs, (f"{place} {sizes(encoder.embed_positions)}", PREFIX)],
        say,
    )
    column(
        drawing,
        right,
        say("decoder", "解码器") + f" {count(decoder.layers)}",
        decoder.layers,
        [
            *inputs,
            (f"{place} {sizes(decoder.embed_positions)}", PREFIX),
            (f"{masks} {sizes(decoder.ngram_input_embed)}", CHAIN),
        ],
        say,
    )
    drawing.line(left + WIDTH + 2, 88, right - 14, 176, arrow=True)
    drawing.text(left, 526, f"{words}: {shared}", 13, fill=FAINT)
    drawing.text(
        right,
        70,
        say("output", "输出") + f" {decoder.embed_tokens.embedding_dim:,} → {decoder.embed_tokens.num_embeddings:,}",
        13,
        fill=FAINT,
    )
    return str(drawing)
