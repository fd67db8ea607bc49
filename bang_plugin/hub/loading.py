"""From a folder with a checkpoint to a ``BangHub``: dictionaries, tokeniser, and which saved options count."""

from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Set

from fairseq import checkpoint_utils, registry
from fairseq.data import encoders
from fairseq.data.encoders.sentencepiece_bpe import SentencepieceBPE
from fairseq.dataclass.configs import FairseqConfig, GenerationConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf, overwrite_args_by_name
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ..checkpoints import tensor_files
from ..data.tokenisers import sentence_pieces, word_pieces
from ..data.wordpiece import Wordpiece
from ..decoding.option_table import TASK_OPTIONS
from ..errors import BangError, first_line, near
from ..guards import table
from ..tasks.bang import BangTask
from .interface import BangHub

CHECKPOINTS = ("model.pt", tensor_files.NAME, "checkpoint_best.pt", "checkpoint_last.pt")
# a task's options of how to write and to validate, which a checkpoint does not bring back: from Python as on a command
# line they have their defaults unless they are asked for
RUN_OPTIONS = ("decoding", *TASK_OPTIONS, "eval_bleu", "eval_decodings", "truncate_source")


def from_pretrained(
    folder: str, checkpoint_file: Optional[str] = None, data_name_or_path: Optional[str] = None, **overrides: Any
) -> BangHub:
    """Load a checkpoint with its dictionaries and tokeniser.

    How to write (``decoding``, ``beam``, ``trace_file``, ``quantize``, ``truncate_source``, …) is not taken from the
    checkpoint: it has fairseq-generate's defaults unless it is given here or to a call.

    Args:
        folder: where the checkpoint lies, and the tokeniser's file if there is one: ``*.model`` (sentencepiece)
            or ``vocab.txt`` (word pieces).
        checkpoint_file: its name, several separated by colons for an ensemble; default: the first of
            model.pt, model.safetensors, checkpoint_best.pt and checkpoint_last.pt that is there.
        data_name_or_path: folder with the dictionaries; default: ``folder`` if they are there, else the folder
            that the model was trained on.
        overrides: of the configuration, for instance ``quantize="int8"``, ``truncate_source=True``, ``max_len_b=100``;
            ``cpu=True`` says that the model stays on the CPU of a machine with a GPU, so that its weights may be laid
            out for that; where it was trained says nothing about that.

    Raises:
        BangError: if something is missing or cannot be read, or for an override that nothing knows.
    """
    cfg, task, models = open_checkpoint(folder, checkpoint_file, data_name_or_path, overrides)
    found = None if "bpe" in overrides else find_tokeniser(Path(folder), is_cased(cfg))
    if found:
        cfg.bpe = None
    return BangHub(cfg, task, models, found or _build_encoder(cfg, "bpe"), _build_encoder(cfg, "tokenizer"))


class Opened(NamedTuple):
    """A checkpoint that has been read.

    Attributes:
        cfg: its configuration, in which options of how to write have their defaults.
        task: with its dictionaries.
        models: as they were trained, one or an ensemble.
    """

    cfg: DictConfig
    task: BangTask
    models: list[Any]


def open_checkpoint(
    folder: str, checkpoint_file: Optional[str], data_name_or_path: Optional[str], overrides: Dict[str, Any]
) -> Opened:
    """Load a checkpoint with its dictionaries: see ``from_pretrained``."""
    table.install()
    path = Path(folder)
    if not path.is_dir():
        raise BangError(f"{folder}: no such folder")
    if checkpoint_file is None:
        there = [name for name in CHECKPOINTS if (path / name).is_file()]
        if not there:
            raise BangError(f"{folder}: none of {', '.join(CHECKPOINTS)}; name another with checkpoint_file=…")
        checkpoint_file = there[0]
    if data_name_or_path is not None:
        overrides["data"] = str(data_name_or_path)
    elif any(path.glob("dict.*.txt")):
        overrides["data"] = str(path)
    first, *others = (str(path / name) for name in checkpoint_file.split(":"))
    state = checkpoint_utils.load_checkpoint_to_cpu(first)
    try:
        cfg = _configure(first, state, overrides)
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([first], state=state)
    except OmegaConfBaseException as error:
        raise BangError(f"{first}: {str(error).splitlines()[0]}") from error
    if others:
        models += checkpoint_utils.load_model_ensemble(others, task=task)[0]
    return Opened(cfg, task, models)


def _configure(file: str, state: Dict[str, Any], overrides: Dict[str, Any]) -> DictConfig:
    """The configuration of a loaded checkpoint, put into its place in ``state``.

    Raises:
        BangError: for a task that does not write, unknown overrides, or dictionaries that are nowhere.
    """
    cfg = state.get("cfg")
    if state.get("args") is not None:
        cfg = convert_namespace_to_omegaconf(state["args"])
    if cfg is None:
        raise BangError(f"{file}: it holds no configuration, so that nothing says how to build the model")
    name = cfg.task._name
    if not issubclass(TASK_REGISTRY.get(name, object), BangTask):
        ours = ", ".join(key for key, task in TASK_REGISTRY.items() if issubclass(task, BangTask))
        raise BangError(
            f"{file}: a checkpoint of task {name}, which writes no answers: fine-tune it first "
            f"(--load-from-pretrained-model), under one of the tasks {ours}"
        )
    known = _names(cfg) | _names(OmegaConf.structured(FairseqConfig())) | set(_defaults(name))
    for kind in ("bpe", "tokenizer"):
        known |= {f for c in registry.REGISTRIES[kind]["dataclass_registry"].values() for f in c.__dataclass_fields__}
    for option in overrides:
        if option not in known:
            raise BangError(f"from_pretrained: unknown option {option}{near(option, known)}")
    with open_dict(cfg):
        cfg.common.cpu = False
        defaults = _defaults(name)
        for option in defaults:
            if option in RUN_OPTIONS or option in overrides and option not in cfg.task:  # an older checkpoint
                cfg.task[option] = defaults[option]
        cfg.generation = OmegaConf.structured(GenerationConfig)
        for kind in {"bpe", "tokenizer"} & overrides.keys():
            cfg[kind] = None  # fairseq would take only the name's own options
    overwrite_args_by_name(cfg, overrides)
    if "data" not in overrides and not Path(str(cfg.task.data).split(":")[0]).is_dir():
        raise BangError(
            f"{file}: no dictionaries (dict.*.txt) beside it, and the folder that it was trained on, {cfg.task.data}, "
            "is not there; copy them to it or give data_name_or_path=…"
        )
    state.update(cfg=cfg, args=None)
    return cfg


def _defaults(task: str) -> Dict[str, object]:
    fields = TASK_DATACLASS_REGISTRY[task].__dataclass_fields__
    return {name: option.default for name, option in fields.items()}


def _names(cfg: Any) -> Set[str]:
    """All keys of a configuration."""
    if not isinstance(cfg, DictConfig):
        return set(vars(cfg)) if hasattr(cfg, "__dict__") else set()
    found = {str(key) for key in cfg}
    key: Any
    for key in cfg:
        if not OmegaConf.is_missing(cfg, key) and not OmegaConf.is_interpolation(cfg, key):
            found |= _names(cfg[key]) if isinstance(cfg[key], DictConfig) else set()
    return found


def is_cased(cfg: DictConfig) -> bool:
    """Whether the checkpoint was made for word pieces that keep upper case."""
    saved = cfg.get("bpe")
    return isinstance(saved, DictConfig) and bool(saved.get("wordpiece_cased"))


def find_tokeniser(folder: Path, cased: bool = False) -> Wordpiece | SentencepieceBPE | None:
    """The tokeniser whose file lies in a checkpoint's folder: a sentencepiece model or a BERT vocabulary.

    Args:
        folder: of the checkpoint.
        cased: word pieces keep upper case.

    Raises:
        BangError: if there are several, or the file is no such thing.
    """
    file = tokeniser_file(folder)
    if file is None:
        return None
    return sentence_pieces(file) if file.suffix == ".model" else word_pieces(file, cased)


def tokeniser_file(folder: Path) -> Path | None:
    """Where it lies.

    Raises:
        BangError: if there are several.
    """
    found = sorted(folder.glob("*.model")) + sorted(folder.glob("vocab.txt"))
    if len(found) > 1:
        raise BangError(f"{folder}: several tokenisers, {', '.join(f.name for f in found)}; leave one")
    return found[0] if found else None


def _build_encoder(cfg: DictConfig, kind: str) -> Any:
    """fairseq's ``bpe`` or ``tokenizer`` of a configuration, which is left without it."""
    saved = cfg.get(kind)
    cfg[kind] = None
    try:
        return encoders.build_bpe(saved) if kind == "bpe" else encoders.build_tokenizer(saved)
    except BangError:
        raise
    except Exception as error:  # each tokeniser has its own errors for a missing file or package
        name = saved if isinstance(saved, str) else saved.get("_name")
        reason = first_line(error)[:160]
        raise BangError(
            f"{kind} {name}, which the checkpoint asks for, cannot be had ({reason}): lay a sentencepiece model "
            f"(*.model) or vocab.txt beside the checkpoint, or give {kind}=… and its options"
        ) from error
