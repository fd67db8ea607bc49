"""What fairseq, and what it is built on, raise for a user's mistakes, in one table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hydra.errors import ConfigCompositionException, OverrideParseException
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    ValidationError,
)

from .raised import Raised, flag


@dataclass(frozen=True)
class Mistake:
    """One kind of mistake.

    Attributes:
        kind: class of the exception, or several.
        where: regular expression, found in ``Raised.where``.
        says: regular expression, found in its message.
        line: takes the match of ``says`` and the ``Raised``, returns what the user is told. If it looks up
            what is not there (LookupError), the exception is not this mistake.
    """

    kind: type[BaseException] | tuple[type[BaseException], ...]
    where: str
    says: str
    line: Callable[[re.Match[str], Raised], str]

    def line_for(self, raised: Raised) -> str | None:
        """The line for an exception, or None if it is something else."""
        if not isinstance(raised.error, self.kind) or not re.search(self.where, raised.where):
            return None
        match = re.search(self.says, raised.text)
        try:
            return None if match is None else " ".join(self.line(match, raised).split())
        except (LookupError, StopIteration):
            return None


FAIRSEQ = r"(^|> )fairseq(_cli)?\.[\w.]+:\w+$"  # raised there, by a statement of fairseq's own
BUILDING = r"fairseq\.registry:build_x"
NO_PACKAGES = r"(?!fairseq|bang_plugin)"  # whose modules are missing only by a fault of the code

MISTAKES = (
    # values
    Mistake(
        Exception,
        r"argparse:_get_value(?!s)",
        r"([^(]*)",
        lambda m, r: (
            f"{r.local('argparse:_get_value', 'action').option_strings[0]} "
            f"{r.local('argparse:_get_value', 'arg_string')}: {m[1]}"
        ),
    ),
    Mistake(
        SyntaxError, ":literal_eval|fairseq", "", lambda m, r: f"{r.with_value(_known(r.error.text))}: {r.error.msg}"
    ),
    Mistake(
        ValueError,
        "fairseq_cli.*:literal_eval",
        "malformed node",
        lambda m, r: f"{r.named('model_overrides')}: names and texts need quotation marks, as in {{'dropout': 0.1}}",
    ),
    Mistake(
        (NameError, TypeError),
        r"fairseq\.optim\.adam:(optimizer_config|step)",
        "is not defined|unpack|subscriptable",
        lambda m, r: f"{r.named('adam_betas')}: not two numbers, as in '(0.9, 0.98)'",
    ),
    Mistake(
        ValueError, r"torch\.nn\.functional:\w*dropout", "but got (.*)", lambda m, r: f"{r.with_value(m[1])}: {r.text}"
    ),
    Mistake(
        ValueError, "torch.*dataloader", "num_workers", lambda m, r: f"{r.named('num_workers')}: must not be negative"
    ),
    Mistake(
        ZeroDivisionError,
        r"fairseq\.data\.iterators:__init__$",
        "",
        lambda m, r: f"{r.named('update_freq')}: must be at least 1",
    ),
    # what is missing
    Mistake(
        RuntimeError, r"fairseq\.options:parse_args_and_arch$", "^$", lambda m, r: "--arch is missing: try bang_base"
    ),
    Mistake(ValueError, rf"{BUILDING}$", r"(\w+) is required!", lambda m, r: f"{flag(m[1])} is missing"),
    Mistake(
        AssertionError, FAIRSEQ, "Please specify criterion", lambda m, r: "--criterion is missing: try nstream_loss"
    ),
    Mistake(
        KeyError,
        rf"{BUILDING}$",
        "",
        lambda m, r: (
            f"{r.part()}: there is none of that name; choose one of "
            + ", ".join(sorted(r.local("fairseq.registry:build_x", "REGISTRY")))
        ),
    ),
    Mistake(
        AssertionError,
        r"fairseq\.(tasks|models):\w+$",
        "Could not infer (task|model) type",
        lambda m, r: f"{r.named(m[1])}: there is no {m[1]} of that name",
    ),
    Mistake(
        MissingMandatoryValue,
        BUILDING,
        r"Missing mandatory value: ([\w.]+)",
        lambda m, r: f"{r.part()} needs {flag(m[1])}",
    ),
    Mistake(
        ConfigCompositionException,
        "",
        r"merging override (\w+)\.(\w+)=null",
        lambda m, r: f"{r.named(m[1])} needs {flag(m[2])}",
    ),
    Mistake(ImportError, FAIRSEQ, r"[Ii]nstall", lambda m, r: f"{r.part()}: {r.text}"),
    Mistake(ImportError, FAIRSEQ, r"[Ii]nstall", lambda m, r: r.text),
    Mistake(
        ModuleNotFoundError,
        "",
        rf"No module named '{NO_PACKAGES}(\w+)",
        lambda m, r: f"the Python package {m[1]} is not installed: pip install {m[1]}",
    ),
    Mistake(
        LookupError,
        "nltk",
        r"Resource '?([\w/]+)'? not found",
        lambda m, r: f"{r.named('tokenizer')}: NLTK has no {m[1]} on this machine: python -m nltk.downloader {m[1]}",
    ),
    # files
    Mistake(FileExistsError, r"fairseq_cli\.preprocess:main$", "", lambda m, r: f"{r.file(r.text)} is there already"),
    Mistake(OSError, "", "", lambda m, r: f"{r.file(str(_known(r.error.filename)))}: {r.error.strerror}"),
    Mistake(OSError, FAIRSEQ, "file (.*) not found", lambda m, r: f"{r.file(m[1])}: no such file"),
    Mistake(
        OSError,
        "",
        r"\[Errno \d+\] (No space left.*|Disk quota.*|Read-only.*|Too many open files.*)",
        lambda m, r: f"the system says: {m[1]}",
    ),
    Mistake(
        (OSError, RuntimeError),
        "sentencepiece",
        r"(?:could not parse ModelProto from |Not found: \")([^\"]*)",
        lambda m, r: f"{r.file(m[1])}: not a sentencepiece model",
    ),
    Mistake(
        TypeError,
        r"fairseq\.sequence_generator:.*forward|fairseq\.sequence_generator:_generate > torch",
        "missing .* required positional",
        lambda m, r: f"{r.named('lm_path')}: not a language model",
    ),
    # resuming
    Mistake(
        RuntimeError,
        FAIRSEQ,
        "--reset-dataloader",
        lambda m, r: (
            "the data are not those that the checkpoint was trained on (more or fewer sentences, another --max-tokens, "
            "--update-freq or number of processes): put them back, or begin an epoch with --reset-dataloader"
        ),
    ),
    Mistake(
        KeyError,
        r"fairseq\.optim\.lr_scheduler[\w.]*:load_state_dict$",
        "",
        lambda m, r: (
            f"{r.named('lr_scheduler')} is not the checkpoint's: go on with that, or begin this one with "
            "--reset-lr-scheduler"
        ),
    ),
    # parts that do not go together
    Mistake(
        InterpolationResolutionError,
        "",
        r"trying to access model\.(\w+)",
        lambda m, r: f"{r.named('criterion')} needs a BANG model: --arch bang_base, say",
    ),
    Mistake(
        (ValueError, TypeError, KeyError, AttributeError),
        r"fairseq\.criterions\.(?!(label_smoothed_)?cross_entropy)",
        "",
        lambda m, r: (
            f"{r.named('criterion')} does not go with {r.named('task')}: {r.text.rstrip('.')}: try nstream_loss"
        ),
    ),
    # files for Hydra
    Mistake(
        (ConfigKeyError, ValidationError),
        "fairseq.dataclass.utils:merge_with_parent",
        r"Key '(\w+)' not in '(\w+)'",
        lambda m, r: f"{m[1]}: {m[2]} has no such option",
    ),
    Mistake(
        ValidationError,
        "fairseq.dataclass.utils:merge_with_parent",
        r"(.*) full_key: ([\w.]+)",
        lambda m, r: f"{m[2]}: {m[1]}",
    ),
    Mistake(
        OverrideParseException,
        r"convert_namespace_to_omegaconf",
        r": (?:\w+\.)?(\w+)='(.*)'",
        lambda m, r: f"{flag(m[1])} {m[2]}: fairseq cannot read this value; leave out backslashes at its end",
    ),
    Mistake(
        InterpolationKeyError,
        "convert_namespace_to_omegaconf|fairseq_cli.hydra_train",
        r"Interpolation key '(.*)' not found full_key: ([\w.]+)",
        lambda m, r: f"{flag(m[2])}: there is no {m[1]} that ${{{m[1]}}} could stand for",
    ),
    # processes and devices
    Mistake(
        AssertionError,
        r"fairseq\.distributed\.utils:_infer_single_node_init$",
        r"size is (\d+) but have (\d+)",
        lambda m, r: f"--distributed-world-size {m[1]}: there are {m[2]} GPUs; add --cpu to train on CPUs",
    ),
    Mistake(
        RuntimeError, "torch.distributed", "EADDRINUSE", lambda m, r: f"{r.text}: choose another --distributed-port"
    ),
    Mistake(
        (RuntimeError, ValueError),
        "torch.distributed.*rendezvous",
        "",
        lambda m, r: f"{r.named('distributed_init_method')}: {r.text}",
    ),
    Mistake(
        (AssertionError, RuntimeError),
        "torch.cuda:_lazy_init$",
        "",
        lambda m, r: f"there is no GPU to use ({r.text}): add --cpu, and leave out --fp16 and --bf16",
    ),
    Mistake(
        torch.OutOfMemoryError,
        "",
        "",
        lambda m, r: (
            "the GPU's memory is full: take a smaller --max-tokens or --batch-size (and --update-freq to make "
            "up for it), or --checkpoint-activations"
        ),
    ),
    Mistake(
        RuntimeError,
        "",
        r"DataLoader worker .*(killed|exited)",
        lambda m, r: f"{r.text}: perhaps for want of memory; try fewer --num-workers",
    ),
    # and what fairseq says itself, in a message that names an option
    Mistake(Exception, FAIRSEQ, r"(^|[\s(`])--[a-z]", lambda m, r: r.text),
    Mistake(
        (AssertionError, ValueError),
        rf"{BUILDING} > fairseq\.[\w.]+:__init__$",
        ".",
        lambda m, r: f"{r.part()}: {r.text}",
    ),
)


def _known(value: Any) -> Any:
    if value is None:
        raise LookupError
    return value
