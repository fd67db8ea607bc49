"""From a task's and fairseq's generation options to a generator."""

import logging
from functools import partial

from ..errors import BangError
from ..models.bang import BangModel
from .account import Account
from .adaptive import adaptive
from .candidates import nar_candidates
from .loop import BlockGenerator
from .nar import nar
from .semi_nar import semi_nar
from .speculative import speculative
from .writing import Limits

logger = logging.getLogger(__name__)

BLOCK_DECODINGS = ("semi_nar", "adaptive", "speculative")
DECODINGS = ("ar", "nar", *BLOCK_DECODINGS)

# fairseq generation options that change nothing or make no sense without a left-to-right search,
# with the values that leave them unused
AR_ONLY = {
    "sampling": False,
    "sampling_topk": -1,
    "sampling_topp": -1.0,
    "diverse_beam_groups": -1,
    "diversity_rate": -1.0,
    "match_source_len": False,
    "no_repeat_ngram_size": 0,
    "prefix_size": 0,
    "constraints": None,
    "lm_path": None,
    "temperature": 1.0,
}


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def check_task_options(cfg) -> None:
    """
    Raises:
        BangError: for values out of range, or options that ``--decoding`` has no meaning for.
    """
    if cfg.decoding not in DECODINGS:
        raise BangError(f"--decoding {cfg.decoding}: choose one of {', '.join(DECODINGS)}")
    for option in ("collapse_repeats", "print_trace", "trace_file"):
        if cfg.decoding == "ar" and getattr(cfg, option):
            raise BangError(f"{_flag(option)} needs a --decoding other than ar")
    if cfg.decoding != "nar" and cfg.nar_candidates > 1:
        raise BangError("--nar-candidates needs --decoding nar")
    for option in ("nar_chunk", "nar_candidates", "block_size"):
        if getattr(cfg, option) < 1:
            raise BangError(f"{_flag(option)} must be at least 1, not {getattr(cfg, option)}")
    if not cfg.confidence >= 0:
        raise BangError(f"--confidence is a probability (above 1: greedy AR), not {cfg.confidence}")


def check_generation_options(args) -> None:
    """
    Raises:
        BangError: for options of fairseq that no mode supports, or lengths that nothing can have.
    """
    for option in ("print_alignment", "replace_unk"):
        if getattr(args, option, None):
            raise BangError(f"{_flag(option)} needs attention weights, which BANG does not report")
    if getattr(args, "retain_iter_history", False):
        raise BangError("--retain-iter-history is for models that refine; what BANG did in each pass: --print-trace")
    limits = Limits.of(args)
    if limits.max_len_b < 0 or limits.max_len_a < 0:
        raise BangError(f"--max-len-a {limits.max_len_a} --max-len-b {limits.max_len_b}: lengths cannot be negative")
    if limits.max_len_a == 0 and limits.min_len > limits.max_len_b:
        raise BangError(f"--min-len {limits.min_len} is more than --max-len-b {limits.max_len_b}")


def _check_parallel_options(cfg, models, args) -> None:
    decoding = cfg.decoding
    for model in models:
        if not isinstance(model, BangModel):
            raise BangError(f"--decoding {decoding} needs a BANG model, not {type(model).__name__}")
    for option, unused in AR_ONLY.items():
        value = getattr(args, option, unused)
        if value != unused and value is not None:
            raise BangError(f"{_flag(option)} needs --decoding ar: {decoding} takes the best token")
    if getattr(args, "nbest", 1) > 1:
        raise BangError(f"--nbest {args.nbest} needs --decoding ar: {decoding} gives one hypothesis")
    streams = min(model.cfg.ngram for model in models)
    if decoding in BLOCK_DECODINGS and cfg.block_size > streams:
        logger.warning(
            "--block-size %d, but the checkpoint was trained with --ngram %d: tokens beyond that are mere guesses",
            cfg.block_size,
            streams,
        )
    # fairseq's default beam is 5, so a beam cannot be told from no wish at all
    logger.info("--decoding %s gives one hypothesis; --beam has no effect", decoding)


def build_block_generator(cfg, models, dictionary, args) -> BlockGenerator:
    """The generator of every mode but ``ar``.

    Args:
        cfg: task options, see :class:`BangConfig`.
        models: an ensemble.
        dictionary: target dictionary.
        args: fairseq's generation options.

    Raises:
        BangError: for options that the mode has no meaning for, or a model that is not BANG.
    """
    _check_parallel_options(cfg, models, args)
    lenpen = 0.0 if getattr(args, "unnormalized", False) else getattr(args, "lenpen", 1.0)
    second_look = partial(nar_candidates, chunk=cfg.nar_chunk, candidates=cfg.nar_candidates, lenpen=lenpen)
    mode = {
        "nar": second_look if cfg.nar_candidates > 1 else partial(nar, chunk=cfg.nar_chunk),
        "semi_nar": partial(semi_nar, block_size=cfg.block_size),
        "adaptive": partial(adaptive, block_size=cfg.block_size, confidence=cfg.confidence),
        "speculative": partial(speculative, block_size=cfg.block_size),
    }[cfg.decoding]
    return BlockGenerator(
        models,
        dictionary,
        mode,
        Limits.of(args),
        lenpen=lenpen,
        collapse_repeats=cfg.collapse_repeats,
        account=partial(Account, decoding=cfg.decoding, print_trace=cfg.print_trace, trace_file=cfg.trace_file),
    )
