"""From a task's and fairseq's generation options to a generator."""

import copy
import logging
from functools import partial

from omegaconf import ValidationError

from ..errors import BangError
from .adaptive import adaptive
from .candidates import nar_candidates
from .loop import BlockGenerator
from .nar import nar
from .option_table import BLOCK_DECODINGS, DECODINGS, GENERATION_OPTIONS, TASK_OPTIONS, check, flag
from .scoring import BlockScorer
from .semi_nar import semi_nar
from .speculative import speculative
from .state import Limits
from .stats import DecodingStats

logger = logging.getLogger(__name__)


def check_task_options(cfg) -> None:
    """
    Raises:
        BangError: for values out of range, or options that ``--decoding`` has no meaning for.
    """
    if cfg.decoding not in DECODINGS:
        raise BangError(f"--decoding {cfg.decoding}: choose one of {', '.join(DECODINGS)}")
    for option in ("nar_chunk", "nar_candidates", "block_size"):
        if getattr(cfg, option) < 1:
            raise BangError(f"{flag(option)} must be at least 1, not {getattr(cfg, option)}")
    if not cfg.confidence >= 0:
        raise BangError(f"--confidence is a probability (above 1: greedy AR), not {cfg.confidence}")
    refused = {name: option for name, option in TASK_OPTIONS.items() if option.refused}
    check(refused, cfg, cfg.decoding, scoring=False)  # the warnings wait until something is written


def set_option(cfg, name: str, value) -> None:
    """
    Raises:
        BangError: for a value that the option cannot have.
    """
    try:
        setattr(cfg, name, value)
    except ValidationError as error:
        raise BangError(f"{name}={value!r}: {str(error).splitlines()[0]}") from error


def with_options(task, chosen: dict):
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


def check_generation_options(cfg, args) -> None:
    """
    Args:
        cfg: task options.
        args: fairseq's generation options.

    Raises:
        BangError: for options that the decoding has no meaning for, or lengths that nothing can have.
    """
    scoring = bool(getattr(args, "score_reference", False))
    check(TASK_OPTIONS, cfg, cfg.decoding, scoring)
    check(GENERATION_OPTIONS, args, cfg.decoding, scoring)
    limits = Limits.of(args)
    if limits.max_len_b < 0 or limits.max_len_a < 0:
        raise BangError(f"--max-len-a {limits.max_len_a} --max-len-b {limits.max_len_b}: lengths cannot be negative")
    if limits.max_len_a == 0 and limits.min_len > limits.max_len_b:
        raise BangError(f"--min-len {limits.min_len} is more than --max-len-b {limits.max_len_b}")


def _check_models(cfg, models) -> None:
    for model in models:
        if not hasattr(getattr(model, "decoder", None), "new_cache"):
            raise BangError(f"--decoding {cfg.decoding} needs a BANG model, not {type(model).__name__}")
    streams = min(model.cfg.ngram for model in models)
    if cfg.decoding in BLOCK_DECODINGS and cfg.block_size > streams:
        logger.warning(
            "--block-size %d, but the checkpoint was trained with --ngram %d: tokens beyond that are mere guesses",
            cfg.block_size,
            streams,
        )


def build_block_generator(cfg, models, dictionary, args) -> BlockGenerator:
    """The generator of every mode but ``ar``, or the scorer of those that have a likelihood of their own.

    Args:
        cfg: task options, see :class:`BangConfig`.
        models: an ensemble.
        dictionary: target dictionary.
        args: fairseq's generation options.

    Raises:
        BangError: for a model that is not BANG.
    """
    _check_models(cfg, models)
    lenpen = 0.0 if getattr(args, "unnormalized", False) else getattr(args, "lenpen", 1.0)
    second_look = partial(nar_candidates, chunk=cfg.nar_chunk, candidates=cfg.nar_candidates, lenpen=lenpen)
    mode = {
        "nar": second_look if cfg.nar_candidates > 1 else partial(nar, chunk=cfg.nar_chunk),
        "semi_nar": partial(semi_nar, block_size=cfg.block_size),
        "adaptive": partial(adaptive, block_size=cfg.block_size, confidence=cfg.confidence),
        "speculative": partial(speculative, block_size=cfg.block_size),
    }[cfg.decoding]
    account = partial(DecodingStats, decoding=cfg.decoding, print_trace=cfg.print_trace, trace_file=cfg.trace_file)
    if getattr(args, "score_reference", False):
        return BlockScorer(models, dictionary, mode, account=account)
    return BlockGenerator(
        models,
        dictionary,
        mode,
        Limits.of(args),
        lenpen=lenpen,
        collapse_repeats=cfg.collapse_repeats,
        account=account,
    )
