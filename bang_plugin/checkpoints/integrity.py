"""Is a checkpoint file what was written, and harmless? Checks that ``torch.load`` leaves out."""

import argparse
import ast
import os
import zipfile
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import BangError

ZIP_START = b"PK\x03\x04"
# options that fairseq's models, optimizers, criterions, tasks and examples evaluate as Python, see tests/reliability
EVALUATED = {
    *("adafactor_eps", "adam_betas", "adamax_betas", "lamb_betas", "wer_args", "model_overrides"),
    *("adaptive_input_cutoff", "adaptive_softmax_cutoff", "character_filters", "xformers_att_config"),
    *("encoder_layers", "encoder_attention", "decoder_layers", "decoder_attention", "decoder_zero_init"),
    *("self_attention", "gated_attention", "project_input", "downsample", "pretrained"),
    *("left_pad_source", "left_pad_target"),
    *("conv_aggregator_layers", "conv_feature_layers", "feature_encoder_spec", "conv_enc_config", "conv_dec_config"),
    *("vggblock_enc_config", "transformer_enc_config", "transformer_dec_config"),
    *("transformer_context", "transformer_sampling"),
    *("pipeline_balance", "pipeline_encoder_balance", "pipeline_decoder_balance"),
    *("pipeline_devices", "pipeline_encoder_devices", "pipeline_decoder_devices"),
}


def check_whole(path: str) -> None:
    """Compare the checksums in a checkpoint file with its contents.

    ``torch.load`` does not: a bit that flips in a parameter would load without a word. Files in the old format
    (before torch 1.6, such as the official release's) hold no checksums, so nothing can be compared.

    Raises:
        BangError: if a checksum is wrong.
        zipfile.BadZipFile: if the file is damaged in another way.
    """
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        if file.read(len(ZIP_START)) != ZIP_START:
            return
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    if damaged:
        raise BangError(
            f"{path}: damaged, the checksum of its part {damaged} is wrong; use another copy or checkpoint "
            "(to resume from one: --restore-file)"
        )


def check_configuration(path: str, state: dict[str, Any]) -> None:
    """Refuse calls where fairseq evaluates an option as Python; other options may look like what they want.

    Raises:
        BangError: naming the option.
    """
    for key in ("args", "cfg"):
        for name, value in _strings(key, state.get(key)):
            # "${…}" may yet become another option's value
            if name.rpartition(".")[2] in EVALUATED and (is_call(value) or "${" in value):
                raise BangError(
                    f"{path}: refused, because loading it could run code: its option {name} is the call {value[:60]!r}"
                )


def is_call(text: str) -> bool:
    """Whether Python would call something if it evaluated ``text``."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError):  # no Python at all
        return False
    except (RecursionError, MemoryError):  # no honest option is that deep
        return True


def _strings(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """All (name, string) pairs of a configuration."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, (DictConfig, ListConfig)):
        yield from _strings(name, OmegaConf.to_container(value, resolve=True))  # put together from pieces it may be one
    elif isinstance(value, argparse.Namespace):
        yield from _strings(name, vars(value))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _strings(f"{name}.{key}", part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _strings(name, part)
