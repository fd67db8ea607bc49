"""All options of decoding in one table: what happens where one has no effect, and which values it may have.

In which decoding an option has an effect is declared by the decodings, see ``registry.py``. One that a decoding has no
meaning for is refused where it asks something of the output that would not be kept (a constraint, a sample), and named
in a warning where it only tunes what another decoding does.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks import TASK_DATACLASS_REGISTRY


@dataclass(frozen=True)
class Option:
    """What is to be known of an option, whatever the decoding.

    Attributes:
        refused: where it has no effect it is refused; else a warning says that it is ignored.
        why: what else to say then.
        idle: values besides the default that ask for nothing.
        everywhere: it acts on the model or on what a command does with the output, in every decoding.
        least: smallest value.
        above: that itself is too small.
        meaning: what to say of a smaller one, if not that.
        in_validation: ``--eval-bleu-args`` may hold it, and so may a request to a server.
        most: largest value that a request to a server may ask for.
        from_python: what to use from Python, where a call cannot change it.
    """

    refused: bool = True
    why: str = ""
    idle: Tuple[Any, ...] = ()
    everywhere: bool = False
    least: Optional[float] = None
    above: bool = False
    meaning: str = ""
    in_validation: bool = True
    most: Optional[int] = None
    from_python: str = ""


_ATTENTION = "it takes attention weights, which BANG does not report"
_REFINING = "it is for models that refine; what BANG did in each pass: --print-trace"
_TWO_PASSES = "it is for speech models with two decoders"

TASK_OPTIONS: Dict[str, Option] = {
    "block_size": Option(refused=False, least=1, most=64),
    "draft_width": Option(refused=False, least=1, most=64),
    "tolerance": Option(refused=False, least=0),
    "confidence": Option(refused=False, least=0, meaning="is a probability (above 1: greedy AR)"),
    "collapse_repeats": Option(),
    "nar_chunk": Option(refused=False, least=1, most=512),
    "nar_candidates": Option(least=1, most=64),
    "print_trace": Option(in_validation=False),
    "trace_file": Option(in_validation=False),
    "decoding_args": Option(why="it holds the options of decodings that a --user-dir adds"),
    "quantize": Option(everywhere=True, in_validation=False, from_python="from_pretrained"),
    "compile": Option(everywhere=True, in_validation=False, from_python="from_pretrained"),
}

# fairseq's
GENERATION_OPTIONS: Dict[str, Option] = {
    "beam": Option(refused=False, idle=(1,), least=1, most=64),  # the default, 5, cannot be told from no wish at all
    "nbest": Option(why="others give one hypothesis", in_validation=False, least=1, most=64),
    "max_len_a": Option(refused=False, least=0),
    "max_len_b": Option(refused=False, least=0),
    "min_len": Option(refused=False, least=0),
    "match_source_len": Option(),
    "unnormalized": Option(refused=False, why="scores are means over tokens"),
    "lenpen": Option(refused=False, why="scores are means over tokens"),
    "unkpen": Option(refused=False),
    "sacrebleu": Option(everywhere=True, in_validation=False),
    "score_reference": Option(in_validation=False, from_python="score(sources, targets)"),
    "prefix_size": Option(in_validation=False),
    "no_repeat_ngram_size": Option(least=0),
    "sampling": Option(why="others take the best tokens or compare with them"),
    "sampling_topk": Option(),
    "sampling_topp": Option(most=1),
    "constraints": Option(in_validation=False),
    "prefix_allowed_tokens_fn": Option(in_validation=False),
    "temperature": Option(least=0, above=True, meaning="must be above 0"),
    "diverse_beam_groups": Option(),
    "diverse_beam_strength": Option(),
    "diversity_rate": Option(),
    "lm_path": Option(in_validation=False),
    "lm_weight": Option(in_validation=False),
    "retain_dropout": Option(everywhere=True, in_validation=False, from_python="from_pretrained"),
    "retain_dropout_modules": Option(everywhere=True, in_validation=False, from_python="from_pretrained"),
    "no_seed_provided": Option(
        everywhere=True, in_validation=False, from_python="torch.manual_seed, since no seed is set here"
    ),
    "replace_unk": Option(why=_ATTENTION),
    "print_alignment": Option(why=_ATTENTION),
    "print_step": Option(why=_REFINING),
    "retain_iter_history": Option(why=_REFINING),
    "iter_decode_eos_penalty": Option(why=_REFINING),
    "iter_decode_max_iter": Option(why=_REFINING),
    "iter_decode_force_max_iter": Option(why=_REFINING),
    "iter_decode_with_beam": Option(why=_REFINING),
    "iter_decode_with_external_reranker": Option(why=_REFINING),
    "decoding_format": Option(why=_REFINING),
    "beam_mt": Option(why=_TWO_PASSES),
    "max_len_a_mt": Option(why=_TWO_PASSES),
    "max_len_b_mt": Option(why=_TWO_PASSES),
    "lenpen_mt": Option(why=_TWO_PASSES),
    "eos_token": Option(why="it is for speech models"),
    "no_early_stop": Option(refused=False, why="fairseq has given it up"),
    "no_beamable_mm": Option(refused=False),
}

# how tokens are drawn
SAMPLING = ("sampling", "sampling_topk", "sampling_topp", "temperature")

OPTIONS: Dict[str, Option] = {**TASK_OPTIONS, **GENERATION_OPTIONS}


def flag(option: str) -> str:
    """An option as it is typed."""
    return "--" + option.replace("_", "-")


def default(option: str) -> Any:
    """The value that an option of the tables has unless it is given."""
    options = TASK_DATACLASS_REGISTRY["bang"] if option in TASK_OPTIONS else GenerationConfig
    known = options.__dataclass_fields__.get(option)
    return known.default if known else None
