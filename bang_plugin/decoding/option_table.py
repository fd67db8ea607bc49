"""Which option has an effect in which decoding, in one table, and one rule for those that have none.

An option that a decoding has no meaning for is refused where it asks something of the output that would not be kept
(a constraint, a sample), and named in a warning where it only tunes what another decoding does.
"""

import functools
import logging
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Iterable, Tuple

from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks import TASK_DATACLASS_REGISTRY

from ..errors import BangError

logger = logging.getLogger(__name__)

BLOCK_DECODINGS = ("semi_nar", "adaptive", "speculative")
PARALLEL = ("nar", *BLOCK_DECODINGS)
DECODINGS = ("ar", *PARALLEL)
AR = ("ar",)
# decodings whose likelihood of a given output is their own, and not AR's
OWN_LIKELIHOOD = ("nar", "semi_nar", "adaptive")


@dataclass(frozen=True)
class Option:
    """Where an option has an effect.

    Attributes:
        decodings: on what these write.
        scoring: on how these score a given output (``--score-reference``).
        refused: elsewhere it is refused; else a warning says that it is ignored.
        why: what else to say then.
        idle: values besides the default that ask for nothing.
    """

    decodings: Tuple[str, ...]
    scoring: Tuple[str, ...] = ()
    refused: bool = True
    why: str = ""
    idle: Tuple[Any, ...] = ()

    def needs(self, decoding: str, scoring: bool) -> str:
        """What a decoding lacks for this option to have an effect; nothing if it has one."""
        where = self.scoring if scoring else self.decodings
        if decoding in where:
            return ""
        if where:
            return f"needs --decoding {' or '.join(where)}" + (" with --score-reference" if scoring else "")
        return f"has no effect {'with --score-reference' if self.decodings else 'on BANG'}"


_ATTENTION = "it takes attention weights, which BANG does not report"
_REFINING = "it is for models that refine; what BANG did in each pass: --print-trace"
_TWO_PASSES = "it is for speech models with two decoders"

TASK_OPTIONS = {
    "block_size": Option(BLOCK_DECODINGS, ("semi_nar", "adaptive"), refused=False),
    "confidence": Option(("adaptive",), ("adaptive",), refused=False),
    "collapse_repeats": Option(PARALLEL),
    "nar_chunk": Option(("nar",), ("nar",), refused=False),
    "nar_candidates": Option(("nar",)),
    "print_trace": Option(PARALLEL, OWN_LIKELIHOOD),
    "trace_file": Option(PARALLEL, OWN_LIKELIHOOD),
    "quantize": Option(DECODINGS, DECODINGS),
    "compile": Option(DECODINGS, DECODINGS),
}

# fairseq's
GENERATION_OPTIONS = {
    "beam": Option(AR, refused=False, idle=(1,)),  # the default, 5, cannot be told from no wish at all
    "nbest": Option(AR, why="others give one hypothesis"),
    "max_len_a": Option(DECODINGS, refused=False),
    "max_len_b": Option(DECODINGS, refused=False),
    "min_len": Option(DECODINGS, refused=False),
    "match_source_len": Option(AR),
    "unnormalized": Option(DECODINGS, refused=False, why="scores are means over tokens"),
    "lenpen": Option(DECODINGS, refused=False, why="scores are means over tokens"),
    "unkpen": Option(DECODINGS, refused=False),
    "sacrebleu": Option(DECODINGS, DECODINGS),
    "score_reference": Option(DECODINGS, DECODINGS),
    "prefix_size": Option(AR),
    "no_repeat_ngram_size": Option(AR),
    "sampling": Option(AR, why="others take the best token"),
    "sampling_topk": Option(AR),
    "sampling_topp": Option(AR),
    "constraints": Option(AR),
    "prefix_allowed_tokens_fn": Option(AR),
    "temperature": Option(AR),
    "diverse_beam_groups": Option(AR),
    "diverse_beam_strength": Option(AR),
    "diversity_rate": Option(AR),
    "lm_path": Option(AR),
    "lm_weight": Option(AR),
    "retain_dropout": Option(DECODINGS, DECODINGS),
    "retain_dropout_modules": Option(DECODINGS, DECODINGS),
    "no_seed_provided": Option(DECODINGS, DECODINGS),
    "replace_unk": Option((), why=_ATTENTION),
    "print_alignment": Option((), why=_ATTENTION),
    "print_step": Option((), why=_REFINING),
    "retain_iter_history": Option((), why=_REFINING),
    "iter_decode_eos_penalty": Option((), why=_REFINING),
    "iter_decode_max_iter": Option((), why=_REFINING),
    "iter_decode_force_max_iter": Option((), why=_REFINING),
    "iter_decode_with_beam": Option((), why=_REFINING),
    "iter_decode_with_external_reranker": Option((), why=_REFINING),
    "decoding_format": Option((), why=_REFINING),
    "beam_mt": Option((), why=_TWO_PASSES),
    "max_len_a_mt": Option((), why=_TWO_PASSES),
    "max_len_b_mt": Option((), why=_TWO_PASSES),
    "lenpen_mt": Option((), why=_TWO_PASSES),
    "eos_token": Option((), why="it is for speech models"),
    "no_early_stop": Option((), refused=False, why="fairseq has given it up"),
    "no_beamable_mm": Option((), refused=False),
}


def flag(option: str) -> str:
    """An option as it is typed."""
    return "--" + option.replace("_", "-")


def default(option: str) -> Any:
    """The value that an option of the tables has unless it is given."""
    options = TASK_DATACLASS_REGISTRY["bang"] if option in TASK_OPTIONS else GenerationConfig
    known = options.__dataclass_fields__.get(option)
    return known.default if known else None


def check(table: dict, values: Any, decoding: str, scoring: bool) -> None:
    """Apply the rule to all options of a table.

    Args:
        table: ``TASK_OPTIONS`` or ``GENERATION_OPTIONS``.
        values: has the options as attributes; those that it lacks have not been given.
        decoding: the mode.
        scoring: given outputs are scored, nothing is written.

    Raises:
        BangError: for an option that is refused.
    """
    for name, option in table.items():
        value = getattr(values, name, None)
        if value is None or value is False or value == default(name) or value in option.idle:
            continue
        lacks = option.needs(decoding, scoring)
        if not lacks:
            continue
        shown = flag(name) if isinstance(value, bool) else f"{flag(name)} {value}"
        line = f"{shown} {lacks}" + (f": {option.why}" if option.why else "")
        if option.refused:
            raise BangError(line)
        warn_once(f"{line}; it is ignored")


@functools.cache
def warn_once(line: str) -> None:
    """From Python a generator is built for every call: once is enough."""
    logger.warning(line)


def near(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name: those that it may have meant."""
    found = get_close_matches(name, list(known))
    return f"; did you mean {' or '.join(found)}?" if found else ""
