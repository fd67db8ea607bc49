"""ProphetNet and XProphetNet (Qi et al., 2020): the network that BANG was made from, whose stream 1 is BANG's."""

import torch
from torch import Tensor

from ..errors import BangError
from .names import activation, renamed, size, without_prefix
from .source import Source
from .vocabulary import sentence_pieces, word_pieces
from .writing import Conversion

NEEDED = "config.json, prophetnet.tokenizer (or vocab.txt), tokenizer_config.json"
MONOLINGUAL, CROSS_LINGUAL = "prophetnet", "xlm-prophetnet"
EMBEDDINGS = ("word_embeddings.weight", "encoder.word_embeddings.weight", "decoder.word_embeddings.weight")
RENAMED = (
    ("position_embeddings.", "embed_positions."),
    ("encoder.embeddings_layer_norm.", "encoder.layernorm_embedding."),
    ("decoder.embeddings_layer_norm.", "decoder.emb_layer_norm."),
    (".cross_attn", ".encoder_attn"),
    (".feed_forward_layer_norm.", ".final_layer_norm."),
    (".feed_forward.intermediate.", ".fc1."),
    (".feed_forward.output.", ".fc2."),
    (".query_proj.", ".q_proj."),
    (".key_proj.", ".k_proj."),
    (".value_proj.", ".v_proj."),
    (".relative_pos_embeddings.", ".relative_linear."),
)


def convert(source: Source) -> Conversion:
    """Everything that a checkpoint of ours needs, from a folder of ProphetNet's or XProphetNet's.

    Raises:
        BangError: if it is another model's, or incomplete.
    """
    config = source.config((MONOLINGUAL, CROSS_LINGUAL))
    sizes = {
        "--encoder-embed-dim": size(config, "hidden_size"),
        "--decoder-embed-dim": size(config, "hidden_size"),
        "--num-buckets": size(config, "num_buckets"),
        "--relative-max-distance": size(config, "relative_max_distance"),
        "--activation-fn": activation(config, "activation_function"),
    }
    for side in ("encoder", "decoder"):
        sizes[f"--{side}-layers"] = size(config, f"num_{side}_layers")
        sizes[f"--{side}-ffn-embed-dim"] = size(config, f"{side}_ffn_dim")
        sizes[f"--{side}-attention-heads"] = size(config, f"num_{side}_attention_heads")
    if config["model_type"] == CROSS_LINGUAL:
        path = source.file("prophetnet.tokenizer")
        vocabulary, cased = sentence_pieces(path), False  # of word pieces only
    else:
        path = source.file("prophetnet.tokenizer", "vocab.txt")
        vocabulary, cased = word_pieces(path), source.is_cased()
    parameters = map_parameters(source.parameters(), source.name)
    vocabulary.check_rows(len(parameters["encoder.embed_tokens.weight"]))
    pad = vocabulary.index("[PAD]")
    if config.get("pad_token_id") != pad:  # from which both count positions
        raise BangError(
            f"{source.name}: its pad_token_id is {config.get('pad_token_id')}, but [PAD] is {pad} in {path}"
        )
    notes = [
        "stream 1 is ProphetNet's; the embedding of the mask is that of its stream 1; its further streams are dropped"
    ]
    start, end = config.get("decoder_start_token_id"), vocabulary.index("[SEP]")
    if start not in (None, end):
        notes.append(f"its decoder starts from symbol {start}, ours from [SEP], which is {end}")
    return Conversion(vocabulary, cased, "bang_large", sizes, parameters, notes)


def map_parameters(found: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """transformers' parameters under our names and in our layout; what has none keeps its own.

    Raises:
        BangError: if the embeddings of encoder, decoder and output are missing, or not one.
    """
    output = found.get("lm_head.weight")
    theirs = without_prefix(found, "prophetnet.")
    theirs.pop("lm_head.weight", None)
    tied = [t for t in (*(theirs.pop(key, None) for key in EMBEDDINGS), output) if t is not None]
    if not tied:
        raise BangError(f"{name}: no word_embeddings among its parameters")
    if not all(t is tied[0] or torch.equal(t, tied[0]) for t in tied):
        raise BangError(f"{name}: encoder, decoder and output have embeddings of their own, but BANG shares one")
    ours = renamed(theirs, RENAMED)
    ours = {_in_decoder(key): value for key, value in ours.items()}
    for key in [key for key in ours if key.endswith(".ngram_self_attn.q_proj.weight")]:
        attention = key.removesuffix("q_proj.weight")
        for kind in ("weight", "bias"):
            parts = [ours.pop(f"{attention}{p}_proj.{kind}", None) for p in "qkv"]
            if all(part is not None for part in parts):  # the rest is found missing where names are compared
                ours[f"{attention}in_proj_{kind}"] = torch.cat([part for part in parts if part is not None])
    masks = ours.pop("decoder.ngram_embeddings.weight", None)
    if masks is not None:
        ours["decoder.ngram_input_embed.weight"] = masks[-1:].clone()  # which transformers gives to stream 1
    return {**ours, "encoder.embed_tokens.weight": tied[0], "decoder.embed_tokens.weight": tied[0]}


def _in_decoder(name: str) -> str:
    return name.replace(".self_attn.", ".ngram_self_attn.") if name.startswith("decoder.") else name
