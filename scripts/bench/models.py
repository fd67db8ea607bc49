"""Models with random weights, all of one size, and input for them."""

from argparse import Namespace
from dataclasses import dataclass

import torch
from fairseq.data import Dictionary

import bang_plugin  # noqa: F401  (registers everything)
from bang_plugin.models.bang import BangModel, BangModelConfig
from bang_plugin.tasks.bang import BangConfig, BangTask


@dataclass(frozen=True)
class Size:
    """Dimensions that all contestants share."""

    layers: int
    dim: int
    ffn: int
    heads: int
    vocab: int


BASE = Size(layers=6, dim=768, ffn=3072, heads=12, vocab=30522)  # bang_base with BERT's word pieces
CONFIG_NAMES = (
    "layers",
    "embed_dim",
    "ffn_embed_dim",
    "attention_heads",
)
QUICK = Size(layers=2, dim=32, ffn=64, heads=4, vocab=200)


def make_dictionary(size: Size) -> Dictionary:
    """Numbered symbols and a mask; ``vocab`` types in all."""
    dictionary = Dictionary()
    while len(dictionary) < size.vocab - 1:
        dictionary.add_symbol(f"w{len(dictionary)}")
    dictionary.add_symbol("<mask>")
    return dictionary


def make_task(dictionary: Dictionary, max_positions: int = 512, **options) -> BangTask:
    """Task ``bang`` without data."""
    cfg = BangConfig(data="none", max_source_positions=max_positions, max_target_positions=max_positions)
    for name, value in options.items():
        setattr(cfg, name, value)
    return BangTask(cfg, dictionary, dictionary)


def bang(size: Size, dictionary: Dictionary, ngram: int = 1, max_positions: int = 512, **options) -> BangModel:
    """BANG with random weights."""
    sizes = {"layers": size.layers, "embed_dim": size.dim, "ffn_embed_dim": size.ffn, "attention_heads": size.heads}
    both = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in sizes.items()}
    positions = {"max_source_positions": max_positions, "max_target_positions": max_positions}
    cfg = BangModelConfig(ngram=ngram, **both, **positions, **options)
    torch.manual_seed(0)
    return BangModel.build_model(cfg, make_task(dictionary, max_positions))


def _fairseq_args(size: Size, arch: str, max_positions: int) -> Namespace:
    sizes = {"layers": size.layers, "embed_dim": size.dim, "ffn_embed_dim": size.ffn, "attention_heads": size.heads}
    both = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in sizes.items()}
    positions = {"max_source_positions": max_positions, "max_target_positions": max_positions}
    return Namespace(arch=arch, share_all_embeddings=True, source_lang="src", target_lang="tgt", **both, **positions)


def transformer(size: Size, dictionary: Dictionary, max_positions: int = 512):
    """fairseq's own Transformer of the same size."""
    from fairseq.models.transformer import TransformerModel, base_architecture

    args = _fairseq_args(size, "transformer", max_positions)
    base_architecture(args)
    torch.manual_seed(0)
    return TransformerModel.build_model(args, Namespace(source_dictionary=dictionary, target_dictionary=dictionary))


def nonautoregressive_transformer(size: Size, dictionary: Dictionary, max_positions: int = 512):
    """fairseq's own one-pass model (Gu et al., 2018) of the same size."""
    from fairseq.models.nat.nonautoregressive_transformer import NATransformerModel, base_architecture

    args = _fairseq_args(size, "nonautoregressive_transformer", max_positions)
    base_architecture(args)
    torch.manual_seed(0)
    return NATransformerModel.build_model(args, Namespace(source_dictionary=dictionary, target_dictionary=dictionary))


def sources(dictionary: Dictionary, batch: int, length: int, seed: int = 1) -> dict:
    """A fairseq batch of ``batch`` random sources of ``length`` tokens, the end symbol included."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(dictionary.nspecial, len(dictionary) - 1, (batch, length), generator=generator)
    tokens[:, -1] = dictionary.eos()
    net_input = {"src_tokens": tokens, "src_lengths": torch.full((batch,), length)}
    return {"id": torch.arange(batch), "nsentences": batch, "net_input": net_input}
