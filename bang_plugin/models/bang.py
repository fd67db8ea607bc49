"""The registered model ``bang``: configuration, presets and construction."""

from argparse import Namespace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Optional

import torch
import torch.nn as nn
from fairseq import utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import FairseqEncoderDecoderModel, register_model, register_model_architecture
from fairseq.tasks import FairseqTask
from omegaconf import II, DictConfig, OmegaConf
from torch import Tensor

from ..checkpoints import parameters
from ..errors import BangError
from ..guards import table
from ..modules.attention_backends import BACKENDS
from .decoder import BangDecoder
from .encoder import BangEncoder
from .inference import compile_for_inference, pack_for_inference


def _sizes(layers: int, embed_dim: int, ffn_embed_dim: int, attention_heads: int) -> dict[str, int]:
    sizes = dict(layers=layers, embed_dim=embed_dim, ffn_embed_dim=ffn_embed_dim, attention_heads=attention_heads)
    return {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()}


PRESETS = {
    "bang_tiny": _sizes(3, 192, 768, 4),
    "bang_small": _sizes(6, 384, 1536, 6),
    "bang_base": _sizes(6, 768, 3072, 12),
    "bang_large": _sizes(12, 1024, 4096, 16),
    # the release's names, now and in its first commits
    "bang_ar_nar_mixed_base": _sizes(6, 768, 3072, 12),
    "prophet_ar_nar_mixed_base": _sizes(6, 768, 3072, 12),
}


@dataclass
class BangModelConfig(FairseqDataclass):
    """Sizes that are not given are the preset's, and those of ``bang_base`` where none is named."""

    encoder_embed_dim: Optional[int] = field(default=None, metadata={"help": "model dimension of the encoder"})
    encoder_ffn_embed_dim: Optional[int] = field(
        default=None, metadata={"help": "inner dimension of its feed-forward parts"}
    )
    encoder_layers: Optional[int] = field(default=None, metadata={"help": "number of encoder layers"})
    encoder_attention_heads: Optional[int] = field(default=None, metadata={"help": "attention heads of the encoder"})
    decoder_embed_dim: Optional[int] = field(default=None, metadata={"help": "model dimension of the decoder"})
    decoder_ffn_embed_dim: Optional[int] = field(
        default=None, metadata={"help": "inner dimension of its feed-forward parts"}
    )
    decoder_layers: Optional[int] = field(default=None, metadata={"help": "number of decoder layers"})
    decoder_attention_heads: Optional[int] = field(default=None, metadata={"help": "attention heads of the decoder"})
    # types: fairseq makes a class for the choices
    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = field(  # type: ignore[valid-type]
        default="gelu", metadata={"help": "activation of the feed-forward parts"}
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout of embeddings and sub-layer outputs"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout of attention weights"})
    activation_dropout: float = field(default=0.1, metadata={"help": "dropout inside the feed-forward parts"})
    num_buckets: int = field(default=32, metadata={"help": "buckets of relative distance"})
    relative_max_distance: int = field(
        default=128, metadata={"help": "distance from which on all share the last bucket"}
    )
    ngram: int = field(
        default=1, metadata={"help": "streams trained: chains of up to this many masks follow every prefix"}
    )
    # type: fairseq makes a class for the choices
    nar_prefix: ChoiceEnum(["empty", "start"]) = field(  # type: ignore[valid-type]
        default="empty",
        metadata={
            "help": "what NAR's chain of masks stands after: no real token at all, as in the paper and the release, or "
            "the start symbol y_0, like every other chain"
        },
    )
    load_from_pretrained_model: Optional[str] = field(
        default=None, metadata={"help": "start training from this checkpoint's parameters"}
    )
    load_sep: bool = field(
        default=False,
        metadata={"help": "with --load-from-pretrained-model: start [X_SEP]'s embedding from [SEP]'s"},
    )
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "recompute activations in the backward pass to save memory"}
    )
    attention_backend: ChoiceEnum(["auto", *BACKENDS]) = field(  # type: ignore[valid-type]
        default="auto", metadata={"help": "how the decoder's self-attention is computed; all give the same numbers"}
    )
    max_source_positions: int = II("task.max_source_positions")
    max_target_positions: int = II("task.max_target_positions")


@register_model("bang", dataclass=BangModelConfig)
class BangModel(FairseqEncoderDecoderModel):
    """BANG (Qi et al., 2021): one encoder-decoder that writes AR, NAR and in between.

    Attributes:
        config, encoder_class: what ``build_model`` reads and builds; a derived model may have its own.
    """

    config, encoder_class = BangModelConfig, BangEncoder

    def __init__(self, cfg: BangModelConfig, encoder: BangEncoder, decoder: BangDecoder):
        super().__init__(encoder, decoder)
        self.cfg = cfg
        self.num_updates = 0

    @classmethod
    def build_model(cls, cfg: Any, task: FairseqTask) -> "BangModel":
        """Build the model.

        Args:
            cfg: ``BangModelConfig`` as a dataclass, as OmegaConf read it, or as older checkpoints' ``args``.
            task: with the dictionaries of source and target, which are one.

        Raises:
            BangError: if source and target dictionaries differ, dimensions do not fit, or the
                pretrained checkpoint cannot be used.
        """
        table.install()
        cfg = OmegaConf.merge(OmegaConf.structured(cls.config), parameters.known_fields(cfg, cls.config))
        _fill(cfg, PRESETS["bang_base"])
        # checked, and from here on without the classes that fairseq makes up, which cannot be pickled
        cfg = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True, enum_to_str=True))
        dictionary = task.source_dictionary
        if task.target_dictionary.symbols != dictionary.symbols:
            raise BangError(
                f"source and target dictionaries differ ({len(dictionary)} and {len(task.target_dictionary)} types), "
                "but BANG shares one embedding: run fairseq-preprocess with --joined-dictionary"
            )
        for side in ("encoder", "decoder"):
            dim, heads = cfg[f"{side}_embed_dim"], cfg[f"{side}_attention_heads"]
            if dim % heads:
                raise BangError(f"--{side}-embed-dim {dim} is not a multiple of --{side}-attention-heads {heads}")
        if cfg.num_buckets < 2 or cfg.relative_max_distance <= cfg.num_buckets // 2:
            raise BangError(
                f"--num-buckets {cfg.num_buckets}, --relative-max-distance {cfg.relative_max_distance}: there must be "
                "at least 2 buckets, of which half take one distance each, and greater distances for the others"
            )
        if cfg.encoder_embed_dim != cfg.decoder_embed_dim:
            raise BangError(
                f"--encoder-embed-dim {cfg.encoder_embed_dim} and --decoder-embed-dim {cfg.decoder_embed_dim} "
                "differ, but BANG shares one embedding"
            )
        embed_tokens = nn.Embedding(len(dictionary), cfg.encoder_embed_dim, dictionary.pad())
        nn.init.normal_(embed_tokens.weight, std=cfg.encoder_embed_dim**-0.5)
        nn.init.zeros_(embed_tokens.weight[dictionary.pad()])
        model = cls(cfg, cls.encoder_class(cfg, dictionary, embed_tokens), BangDecoder(cfg, dictionary, embed_tokens))
        for layer in model.modules():
            if getattr(getattr(layer, "activation_fn", None), "__name__", "") == "<lambda>":
                layer.activation_fn = nn.Identity()  # fairseq's "linear", which could not be pickled
        if cfg.load_from_pretrained_model:
            parameters.load_pretrained(model, cfg.load_from_pretrained_model, cfg.load_sep)
        return model

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **decoder_options: Any
    ) -> tuple[Tensor, dict[str, None]]:
        """Encode, then decode as ``BangDecoder.forward`` says.

        Args:
            src_tokens: ``(batch, src_len)``.
            src_lengths: ``(batch,)``.
            prev_output_tokens: ``(batch, tgt_len)``.

        Raises:
            BangError: if a sentence is longer than the position table.
        """
        for tokens, side in ((src_tokens, "source"), (prev_output_tokens, "target")):
            _check_length(tokens, self.encoder.padding_idx, self.cfg[f"max_{side}_positions"], side)
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out, **decoder_options)

    def prepare_for_inference_(self, cfg: DictConfig) -> None:
        """fairseq's, and on a CPU the weights laid out for generation: after that the model can do nothing else.

        Where there is a GPU that the model may yet be moved to, only with ``--cpu`` or ``--quantize``; with
        ``--compile`` compiled layers instead. On a GPU with ``--bf16`` the weights become bfloat16, which
        fairseq-generate does for ``--fp16`` alone.

        Raises:
            BangError: if the precision that ``--quantize`` asks for cannot be had, or ``--compile`` is given too.
        """
        super().prepare_for_inference_(cfg)
        self.train = _train_no_more  # instead of fairseq's, which cannot be pickled
        if cfg.common.get("bf16") and self.decoder.embed_tokens.weight.is_cuda:
            self.bfloat16()
        # absent from other tasks and from old checkpoints
        quantize, compiled = cfg.task.get("quantize", "none"), cfg.task.get("compile", False)
        if compiled and quantize != "none":
            raise BangError(f"--compile cannot be had with --quantize {quantize}: leave one of them out")
        if compiled:
            compile_for_inference(self)
        elif quantize != "none" or cfg.common.cpu or not torch.cuda.is_available():
            pack_for_inference(self, quantize)

    def set_num_updates(self, num_updates: int) -> None:
        """Called by fairseq before each update; the criterion draws by the number."""
        super().set_num_updates(num_updates)
        self.num_updates = num_updates

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Accept the release's parameter names and other sizes of the position tables.

        Raises:
            BangError: if the parameters belong to another architecture or dictionary.
        """
        super().upgrade_state_dict_named(state_dict, name)
        parameters.adapt_parameters(state_dict, self, name)


def _train_no_more(mode: bool = True) -> None:
    if mode:
        raise BangError("this model is laid out for generation and cannot be trained any more: load it anew")


def _check_length(tokens: Tensor, padding_idx: int, limit: int, side: str) -> None:
    if tokens.size(1) <= limit:
        return
    # only now at the tokens themselves, because that waits for a GPU (which else crashes and says nothing)
    longest = int(tokens.ne(padding_idx).sum(1).max())
    if longest > limit:
        raise BangError(f"{longest} tokens of a {side} are more than --max-{side}-positions {limit}")


def _fill(args: Namespace | DictConfig, sizes: dict[str, int]) -> None:
    """Set the sizes that the command line, a file for Hydra or a checkpoint leaves open."""
    for name, value in sizes.items():
        if getattr(args, name, None) is None:
            setattr(args, name, value)


for _name, _preset in PRESETS.items():
    # fairseq calls it with the parsed command line, and with Hydra's configuration before it builds the model
    register_model_architecture("bang", _name)(partial(_fill, sizes=_preset))
