"""A converted model as a folder of ours: ``model.pt`` as fairseq saves it, dictionaries and tokeniser beside it."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..checkpoints.parameters import adapt_parameters
from ..data.dictionary import load_dictionary
from ..errors import BangError
from ..guards.saving import check_new, whole_file, whole_folder
from ..models.bang import PRESETS, BangModel
from ..tasks.bang import BangTask
from .vocabulary import Vocabulary

TABLES = {"source": "encoder.embed_positions.weight", "target": "decoder.embed_positions.weight"}
LONGEST_TARGET = 512  # where the model has no decoder that would say it


@dataclass
class Conversion:
    """What was read of a model.

    Attributes:
        vocabulary: symbols and tokeniser.
        cased: whether its word pieces keep upper case.
        arch: preset that it is nearest to.
        sizes: options of fairseq-train that say its sizes.
        parameters: under our names; those of the embedding have a row per symbol at least.
        notes: lines to tell what is not as it was.
    """

    vocabulary: Vocabulary
    cased: bool
    arch: str
    sizes: dict[str, Any]
    parameters: dict[str, Tensor]
    notes: list[str]

    def training_options(self) -> list[str]:
        """``--arch`` and the sizes that differ from its own."""
        usual = {"activation_fn": "gelu", "num_buckets": 32, "relative_max_distance": 128, **PRESETS[self.arch]}
        given = {name: value for name, value in self.sizes.items() if usual[name[2:].replace("-", "_")] != value}
        return ["--arch", self.arch, *(str(part) for pair in given.items() for part in pair)]


def check_output(folder: Path) -> None:
    """Check that nothing would be overwritten.

    Raises:
        BangError: if something is there already.
    """
    check_new(folder, f"--output {folder}")


def write(converted: Conversion, folder: Path, name: str, seed: int = 1) -> None:
    """Write the folder, whole or not at all.

    Args:
        converted: the model.
        folder: new or empty.
        name: of the model, for messages and for the checkpoint to remember.
        seed: of parameters that the model does not have.

    Raises:
        BangError: if parameters do not fit the sizes, the vocabulary is not usable, or the folder cannot be written.
    """
    with whole_folder(folder, f"--output {folder}") as part:
        _write_parts(converted, part, folder, name, seed)


def _write_parts(converted: Conversion, part: Path, folder: Path, name: str, seed: int) -> None:
    vocabulary = converted.vocabulary
    (part / vocabulary.tokeniser).write_bytes(vocabulary.contents)
    for side in ("src", "tgt"):
        lines = (f"{symbol} 1\n" for symbol in vocabulary.symbols)
        (part / f"dict.{side}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
    try:
        dictionary = load_dictionary(str(part / "dict.src.txt"))
    except BangError as error:
        raise BangError(f"{vocabulary.path}: {str(error).partition(', ')[2]}") from error
    rows, pad = len(dictionary), dictionary.pad()
    parameters = dict(converted.parameters)
    tokens = parameters["encoder.embed_tokens.weight"][:rows]
    parameters |= {f"{side}.embed_tokens.weight": tokens for side in ("encoder", "decoder")}
    cfg = _configuration(converted, folder, pad)
    task = BangTask(cfg.task, dictionary, dictionary)
    try:
        model = _complete(parameters, cfg, task, seed)
    except BangError as error:
        raise BangError(f"{name}: {error}") from error
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": model,
        "task_state": task.state_dict(),
        "extra_state": {"converted_from": name},
    }
    with whole_file(str(part / "model.pt")) as file:
        torch.save(state, file)


def _configuration(converted: Conversion, folder: Path, pad: int) -> DictConfig:
    """What fairseq-train would save of these options."""
    lengths = {}
    for spare, (side, table) in enumerate(TABLES.items()):  # the decoder has one place more than its longest input
        places = converted.parameters.get(table)
        longest = LONGEST_TARGET if places is None else len(places) - pad - 1 - spare
        lengths[f"--max-{side}-positions"] = longest
    # by the parser, which fills in everything else
    line = [
        str(folder),
        "--task",
        "bang",
        "--source-lang",
        "src",
        "--target-lang",
        "tgt",
        "--criterion",
        "nstream_loss",
    ]
    line += ["--arch", converted.arch]
    line += [str(part) for pair in (converted.sizes | lengths).items() for part in pair]
    if converted.cased:
        vocabulary = folder / converted.vocabulary.tokeniser
        line += ["--bpe", "wordpiece", "--wordpiece-vocab", str(vocabulary), "--wordpiece-cased"]
    args = options.parse_args_and_arch(options.get_training_parser(), input_args=line)
    with warnings.catch_warnings():  # Hydra says of how fairseq uses it that it is out of date
        warnings.simplefilter("ignore")
        return convert_namespace_to_omegaconf(args)


def _complete(parameters: dict[str, Tensor], cfg: DictConfig, task: BangTask, seed: int) -> dict[str, Tensor]:
    """The parameters, with those of a decoder if they have none.

    Raises:
        BangError: if they are not those of a model of these sizes.
    """
    with torch.device("meta"):  # only names and sizes
        wanted = BangModel.build_model(cfg.model, task)
    if not any(name.startswith("decoder.layers.") for name in parameters):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = BangModel.build_model(cfg.model, task).state_dict()
        parameters = {k: v for k, v in made.items() if k.startswith("decoder.")} | parameters
    parameters = {"encoder.version": torch.tensor([3.0]), **parameters}  # which fairseq's encoder keeps
    adapt_parameters(parameters, wanted)
    return parameters
