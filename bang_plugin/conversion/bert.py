"""BERT (Devlin et al., 2019): encoder and embeddings of ours; the decoder has to be learnt."""

import re

import torch
from torch import Tensor

from ..errors import BangError
from ..models.bang import PRESETS
from .names import activation, renamed, size, without_prefix
from .source import Source
from .vocabulary import word_pieces
from .writing import Conversion

NEEDED = "config.json, vocab.txt, tokenizer_config.json"
POSITIONS, TYPES = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
DROPPED = r"embeddings\.position_ids|pooler\..*|cls\..*"
RENAMED = (
    ("LayerNorm.gamma", "LayerNorm.weight"),  # as the first checkpoints have it
    ("LayerNorm.beta", "LayerNorm.bias"),
    ("embeddings.LayerNorm.", "encoder.layernorm_embedding."),
    ("encoder.layer.", "encoder.layers."),
    (".attention.self.query.", ".self_attn.q_proj."),
    (".attention.self.key.", ".self_attn.k_proj."),
    (".attention.self.value.", ".self_attn.v_proj."),
    (".attention.output.dense.", ".self_attn.out_proj."),
    (".attention.output.LayerNorm.", ".self_attn_layer_norm."),
    (".intermediate.dense.", ".fc1."),
    (".output.dense.", ".fc2."),
    (".output.LayerNorm.", ".final_layer_norm."),
)


def convert(source: Source, encoder_layers: int | None = None, decoder_layers: int | None = None) -> Conversion:
    """Everything that a checkpoint of ours needs but the decoder, from a folder of BERT's.

    Args:
        source: of the model.
        encoder_layers: keep so many of BERT's, the first; None: all.
        decoder_layers: None: as many as `bang_base` has.

    Raises:
        BangError: if it is another model's, or incomplete.
    """
    config = source.config(("bert",))
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise BangError(f"{source.name}: its positions are {config['position_embedding_type']}, not absolute")
    layers = size(config, "num_hidden_layers")
    kept = layers if encoder_layers is None else encoder_layers
    if not 1 <= kept <= layers:
        raise BangError(f"--encoder-layers {kept}: {source.name} has 1 to {layers} to keep")
    if decoder_layers is not None and decoder_layers < 1:
        raise BangError(f"--decoder-layers {decoder_layers}: it needs 1 at least")
    sizes = {
        "--encoder-layers": kept,
        "--decoder-layers": decoder_layers or PRESETS["bang_base"]["decoder_layers"],
        "--activation-fn": activation(config, "hidden_act"),
    }
    for side in ("encoder", "decoder"):
        sizes[f"--{side}-embed-dim"] = size(config, "hidden_size")
        sizes[f"--{side}-ffn-embed-dim"] = size(config, "intermediate_size")
        sizes[f"--{side}-attention-heads"] = size(config, "num_attention_heads")
    vocabulary, cased = word_pieces(source.file("vocab.txt")), source.is_cased()
    parameters = map_parameters(source.parameters(), kept, vocabulary.index("[PAD]"), source.name)
    vocabulary.check_rows(len(parameters["encoder.embed_tokens.weight"]))
    notes = [
        "initialised at random, since BERT has none: the decoder's layers with their cross-attention, its positions, "
        "its first LayerNorm and the embedding of the mask",
        "token type 0 is added to the positions; other token types, pooler and output heads are dropped"
        + (f", and layers {kept + 1} to {layers}" if kept < layers else ""),
    ]
    if (epsilon := config.get("layer_norm_eps", 1e-12)) != 1e-5:
        notes.append(
            f"LayerNorm adds 1e-5 to the variance where BERT adds {epsilon:g}, so that numbers differ slightly"
        )
    return Conversion(vocabulary, cased, "bang_base", sizes, parameters, notes)


def map_parameters(found: dict[str, Tensor], layers: int, pad: int, name: str) -> dict[str, Tensor]:
    """BERT's parameters under our names; what has none keeps its own.

    Raises:
        BangError: if embeddings are missing.
    """
    theirs = {k: v for k, v in without_prefix(found, "bert.").items() if not re.fullmatch(DROPPED, k)}
    for key in (POSITIONS, TYPES, "embeddings.word_embeddings.weight"):
        if key not in theirs:
            raise BangError(f"{name}: no {key} among its parameters")
    # BERT counts positions from 0, we from 1, after the padding symbol's
    positions = theirs.pop(POSITIONS) + theirs.pop(TYPES)[0]
    tokens = theirs.pop("embeddings.word_embeddings.weight")
    ours = renamed(theirs, RENAMED)
    for key in [
        key for key in ours if (match := re.match(r"encoder\.layers\.(\d+)\.", key)) and int(match[1]) >= layers
    ]:
        del ours[key]
    table = torch.cat([positions.new_zeros(pad + 1, positions.size(1)), positions])
    both = {f"{side}.embed_tokens.weight": tokens for side in ("encoder", "decoder")}
    return {**ours, **both, "encoder.embed_positions.weight": table}
