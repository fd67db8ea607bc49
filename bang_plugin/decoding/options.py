"""From a task's and fairseq's generation options to a generator."""

import copy
import functools
import json
import logging
from functools import partial
from typing import Any, Dict, List, Mapping, Optional

from omegaconf import ValidationError

from ..errors import BangError, near
from . import registry
from .loop import BlockGenerator, Mode
from .option_table import GENERATION_OPTIONS, OPTIONS, TASK_OPTIONS, Option, default, flag
from .registry import Decoding, GeneratorRequest
from .scoring import BlockScorer, ReferenceScorer
from .state import Limits
from .stats import standard_observers

logger = logging.getLogger(__name__)


def check(table: Mapping[str, Option], values: Any, decoding: str, scoring: bool) -> None:
    """Apply the rule of the option table to all options of a table.

    Args:
        table: ``TASK_OPTIONS`` or ``GENERATION_OPTIONS``.
        values: has the options as attributes; those that it lacks have not been given.
        decoding: name of the decoding.
        scoring: given outputs are scored, nothing is written.

    Raises:
        BangError: for an option that is refused.
    """
    for name, option in table.items():
        value = getattr(values, name, None)
        if not asks(name, value):
            continue
        lacks = registry.needs(name, decoding, scoring)
        if not lacks:
            continue
        shown = flag(name) if isinstance(value, bool) else f"{flag(name)} {value}"
        line = f"{shown} {lacks}" + (f": {option.why}" if option.why else "")
        if option.refused:
            raise BangError(line)
        warn_once(f"{line}; it is ignored")


def asks(name: str, value: Any) -> bool:
    """Whether an option of the tables has been given a value that asks for something."""
    return not (value is None or value is False or value == default(name) or value in OPTIONS[name].idle)


@functools.lru_cache(maxsize=256)  # lines may hold what clients of a server ask for
def warn_once(line: str) -> None:
    """From Python a generator is built for every call: once is enough."""
    logger.warning(line)


def check_bounds(table: Mapping[str, Option], values: Any) -> None:
    """Check that no option of a table is below its smallest value; arguments as for ``check``.

    Raises:
        BangError: if one is.
    """
    for name, option in table.items():
        value = getattr(values, name, None)
        if option.least is None or value is None:
            continue
        if not value >= option.least or option.above and value == option.least:
            raise BangError(f"{flag(name)} {option.meaning or f'must be at least {option.least}'}, not {value}")


def check_task_options(cfg: Any) -> None:
    """Check the task's options of how to write.

    Raises:
        BangError: for a decoding that there is none of, values out of range, or options that the decoding has no
            meaning for.
    """
    decoding = registry.find(cfg.decoding)
    check_bounds(TASK_OPTIONS, cfg)
    refused = {name: option for name, option in TASK_OPTIONS.items() if option.refused}
    check(refused, cfg, cfg.decoding, scoring=False)  # the warnings wait until something is written
    decoding_arguments(decoding, cfg.decoding_args)


def decoding_arguments(decoding: Decoding, text: str | None) -> Dict[str, Any]:
    """The options that a decoding declares itself, by what ``--decoding-args`` says of them.

    Raises:
        BangError: for text that is no JSON object, an unknown name, or a value of another type than the default's.
    """
    values = dict(decoding.arguments)
    for name, value in json_object("--decoding-args", text).items():
        if name not in values:
            known = f"; --decoding {decoding.name} has {', '.join(values) or 'none'}"
            raise BangError(f"--decoding-args: unknown option {name}{near(name, values) or known}")
        kind = type(values[name])
        if kind is float and type(value) is int:
            value = float(value)
        if values[name] is not None and type(value) is not kind:
            raise BangError(f"--decoding-args: {name} is of type {kind.__name__}, not {json.dumps(value)}")
        values[name] = value
    return values


def json_object(option: str, text: str | None) -> Dict[str, Any]:
    """An option that holds a JSON object.

    Raises:
        BangError: if it holds something else.
    """
    example = "for instance '{\"beam\": 4}'"
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise BangError(f"{option} {text}: {error}; write JSON, {example}") from error
    if not isinstance(value, dict):
        raise BangError(f"{option} {text}: write a JSON object, {example}")
    return value


def set_option(cfg: Any, name: str, value: Any) -> None:
    """Set an option; ``decoding_args`` may be a mapping.

    Raises:
        BangError: for a value that the option cannot have.
    """
    try:
        if name == "decoding_args" and isinstance(value, Mapping):
            value = json.dumps(dict(value))
        setattr(cfg, name, value)
    except (ValidationError, TypeError) as error:
        raise BangError(f"{name}={value!r}: {str(error).splitlines()[0]}") from error


def with_options(task: Any, chosen: Mapping[str, Any]) -> Any:
    """A copy of a task under decoding options of its own; it shares all else with ``task``.

    Raises:
        BangError: for values out of range, or options that the decoding has no meaning for.
    """
    view = copy.copy(task)
    view.cfg = copy.copy(task.cfg)
    for name, value in chosen.items():
        set_option(view.cfg, name, value)
    check_task_options(view.cfg)
    return view


def check_generation_options(cfg: Any, args: Any, vocabulary: int) -> None:
    """Check fairseq's options of how to write, where they meet ours.

    Args:
        cfg: task options.
        args: fairseq's generation options.
        vocabulary: symbols that can be written.

    Raises:
        BangError: for options that the decoding has no meaning for, values out of range, or options that do not go
            together.
    """
    check_bounds(GENERATION_OPTIONS, args)
    scoring = bool(getattr(args, "score_reference", False))
    if scoring and (lacks := registry.needs("score_reference", cfg.decoding, scoring)):
        raise BangError(f"--score-reference {lacks}: the others give no likelihood")
    check(TASK_OPTIONS, cfg, cfg.decoding, scoring)
    check(GENERATION_OPTIONS, args, cfg.decoding, scoring)
    limits = Limits.of(args)
    if limits.max_len_a == 0 and limits.min_len > limits.max_len_b:
        raise BangError(f"--min-len {limits.min_len} is more than --max-len-b {limits.max_len_b}")
    beams, groups = getattr(args, "beam", default("beam")), getattr(args, "diverse_beam_groups", 0)
    if groups > 0 and beams % groups:
        raise BangError(f"--diverse-beam-groups {groups} is no divisor of --beam {beams}")
    nbest = getattr(args, "nbest", default("nbest"))
    if not scoring and nbest > beams and registry.find(cfg.decoding).understands("beam"):
        raise BangError(f"--nbest {nbest} needs at least so many beams, --beam {nbest}")
    check_sampling(args, vocabulary)


def check_sampling(args: Any, vocabulary: int) -> None:
    """Check among which tokens is drawn; arguments as for ``check_generation_options``.

    Raises:
        BangError: for more tokens than there are, a probability above 1, or a choice where nothing is drawn.
    """
    topk, topp = (getattr(args, f"sampling_{name}", -1) for name in ("topk", "topp"))
    for name, value, most in (("topk", topk, vocabulary), ("topp", topp, 1)):
        if value > most:
            raise BangError(f"--sampling-{name} must be at most {most}, not {value}")
        if value > 0 and not getattr(args, "sampling", False):
            raise BangError(f"--sampling-{name} requires --sampling")


def check_models(decoding: Decoding, cfg: Any, models: List[Any]) -> None:
    """Check that a decoding can write with these models.

    Raises:
        BangError: for a model that is not BANG.
    """
    for model in models:
        if not hasattr(getattr(model, "decoder", None), "new_cache"):
            raise BangError(f"--decoding {decoding.name} needs a BANG model, not {type(model).__name__}")
    streams = min(model.cfg.ngram for model in models)
    if decoding.understands("block_size") and cfg.block_size > streams:
        logger.warning(
            "--block-size %d, but the checkpoint was trained with --ngram %d: tokens beyond that are mere guesses",
            cfg.block_size,
            streams,
        )


def build_generator(request: GeneratorRequest) -> Any:
    """The generator of a decoding; to score given outputs, its scorer, or fairseq's where the likelihood is AR's.

    Raises:
        BangError: for a model that is not BANG, where the decoding needs one, or a trace that cannot be written.
    """
    decoding = request.decoding
    scoring = getattr(request.args, "score_reference", False)
    if scoring and decoding.likelihood == "ar":
        return ReferenceScorer(request.dictionary)
    if decoding.builds_generator:
        return decoding.function(request)
    return build_block_generator(request, scoring)


def build_block_generator(
    request: GeneratorRequest, scoring: bool = False, mode: Optional[Mode] = None
) -> BlockGenerator:
    """A mode in the shared loop, by default the decoding itself; with ``scoring`` the loop writes given outputs."""
    decoding, cfg = request.decoding, request.cfg
    check_models(decoding, cfg, request.models)
    mode = mode or partial(
        decoding.function,
        **{name: request.value(name) for name in decoding.parameters},
        **decoding_arguments(decoding, cfg.decoding_args),
    )
    observers = standard_observers(decoding.name, cfg.print_trace, cfg.trace_file)
    if scoring:
        return BlockScorer(request.models, request.dictionary, mode, observers)
    return BlockGenerator(
        request.models,
        request.dictionary,
        mode,
        Limits.of(request.args),
        lenpen=request.lenpen,
        collapse_repeats=cfg.collapse_repeats,
        observers=observers,
        takes_prefix=decoding.understands("prefix_size"),
    )
