"""The decodings by name: what each reads, whether it can score a given output, and what builds its generator.

The command line, the Python interface, ``--eval-bleu-args`` and all messages ask here, so that a decoding that a
``--user-dir`` registers is one like the others; see docs/extending.md.
"""

import inspect
from dataclasses import dataclass, fields
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Literal, Mapping, Optional, Tuple, TypeVar

from ..errors import BangError, near
from .option_table import OPTIONS, TASK_OPTIONS
from .state import Limits

TRACES = ("print_trace", "trace_file")
# what the shared loop does for every mode
LOOP_OPTIONS = (
    *(limit.name for limit in fields(Limits)),
    "unnormalized",
    "lenpen",
    "collapse_repeats",
    "prefix_size",
    *TRACES,
)
_EVERYWHERE = {name for name, option in OPTIONS.items() if option.everywhere}

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Decoding:
    """A way to write.

    Attributes:
        name: value of ``--decoding``.
        help: what it does, in a few words.
        function: the mode, or what builds the generator, see ``register_decoding``.
        builds_generator: which of the two it is.
        parameters: options of the table that the mode takes.
        arguments: its options in ``--decoding-args``, with their defaults.
        writes_with: all options that have an effect on what it writes.
        scores_with: the same on how it scores a given output (``--score-reference``).
        likelihood: whose probability a given output has, see ``register_decoding``.
    """

    name: str
    help: str
    function: Callable[..., Any]
    builds_generator: bool
    parameters: Tuple[str, ...]
    arguments: Mapping[str, Any]
    writes_with: FrozenSet[str]
    scores_with: FrozenSet[str]
    likelihood: Optional[Literal["own", "ar"]]

    def understands(self, option: str, scoring: bool = False) -> bool:
        """Whether an option has an effect."""
        return option in (self.scores_with if scoring else self.writes_with)


@dataclass(frozen=True)
class GeneratorRequest:
    """What a generator is built from.

    Attributes:
        decoding: the decoding.
        cfg: task options, see ``BangConfig``.
        args: fairseq's generation options; what is missing has its default.
        models: an ensemble.
        dictionary: target dictionary.
        fairseq_search: builds fairseq's generator for these options; takes the subclass of ``SequenceGenerator``.
        restricted: whether a ``prefix_allowed_tokens_fn`` has been given.
        language_model: what fairseq has loaded from ``--lm-path``.
    """

    decoding: Decoding
    cfg: Any
    args: Any
    models: List[Any]
    dictionary: Any
    fairseq_search: Callable[[Callable[..., Any]], Any]
    restricted: bool = False
    language_model: Any = None

    @property
    def lenpen(self) -> float:
        """Exponent of the length that scores are divided by; 0 leaves the sum of log-probabilities."""
        return 0.0 if getattr(self.args, "unnormalized", False) else getattr(self.args, "lenpen", 1.0)

    def value(self, parameter: str) -> Any:
        """An option of the table, as the mode takes it: ``lm_path`` as the model that has been loaded.

        Raises:
            BangError: for a language model that has not.
        """
        if parameter == "lenpen":
            return self.lenpen
        if parameter == "lm_path":
            if self.language_model is None and (path := getattr(self.args, "lm_path", None)):
                raise BangError(f"--lm-path {path}: only fairseq-generate loads language models")
            return self.language_model
        if parameter in TASK_OPTIONS:
            return getattr(self.cfg, parameter)
        return getattr(self.args, parameter, None)


_DECODINGS: Dict[str, Decoding] = {}


def register_decoding(
    name: str,
    help: str,
    *,
    likelihood: Optional[Literal["own", "ar"]] = None,
    understands: Iterable[str] = LOOP_OPTIONS,
    only_writing: Iterable[str] = (),
    builds_generator: bool = False,
) -> Callable[[Function], Function]:
    """Make a mode of the shared loop a value of ``--decoding``.

    The mode is a function ``(session, state, …) -> step``; each call of ``step()`` runs a decoder pass and returns a
    ``Step``. Further parameters that are named like an option of the table, ``block_size`` or ``lenpen``, get that
    option's value; all others need a default and are options of ``--decoding-args``.

    Args:
        name: value of ``--decoding``.
        help: what it does, in a few words, for ``--help``.
        likelihood: with what ``--score-reference`` scores a given output: ``own`` by the mode's chains (how many tokens
            it keeps must not depend on the tokens, see ``DecodingState.certainty``), ``ar`` as AR, None not at all.
        understands: options of the table that have an effect beside the mode's parameters.
        only_writing: parameters that have none on scores of given outputs.
        builds_generator: the function is no mode, but takes a ``GeneratorRequest`` and returns a generator with
            fairseq's interface and a list ``observers``, a scorer where the likelihood is its own and the request says
            ``score_reference``; it checks itself what the models are.

    Raises:
        BangError: if another function has this name, for an option that the table does not have, or for a parameter
            without a default that is no option.
    """

    def register(function: Function) -> Function:
        there = _DECODINGS.get(name)
        if there and _place(there.function) != _place(function):
            raise BangError(f"decoding {name}: {_place(there.function)} has this name already; choose another")
        parameters, arguments = ((), {}) if builds_generator else _parameters(name, function)
        own = {*parameters, *(["decoding_args"] if arguments else [])}
        of_loop = set(understands)
        unknown = sorted((of_loop | set(only_writing)) - OPTIONS.keys())
        if unknown:
            raise BangError(f"decoding {name}: unknown option {unknown[0]}{near(unknown[0], OPTIONS)}")
        base = _EVERYWHERE | ({"score_reference"} if likelihood else set())
        scoring = (own | of_loop & set(TRACES)) - set(only_writing) if likelihood == "own" else set()
        _DECODINGS[name] = Decoding(
            name=name,
            help=help,
            function=function,
            builds_generator=builds_generator,
            parameters=parameters,
            arguments=arguments,
            writes_with=frozenset(base | own | of_loop),
            scores_with=frozenset(base | scoring),
            likelihood=likelihood,
        )
        return function

    return register


def _parameters(name: str, function: Callable[..., Any]) -> Tuple[Tuple[str, ...], Dict[str, Any]]:
    """A mode's parameters that are options of the table, and the others with their defaults."""
    _, _, *others = inspect.signature(function).parameters.values()
    for parameter in others:
        if parameter.name not in OPTIONS and parameter.default is parameter.empty:
            raise BangError(
                f"decoding {name}: its parameter {parameter.name} is no option of decoding"
                f"{near(parameter.name, OPTIONS)}; one of --decoding-args needs a default"
            )
    return (
        tuple(parameter.name for parameter in others if parameter.name in OPTIONS),
        {parameter.name: parameter.default for parameter in others if parameter.name not in OPTIONS},
    )


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def decodings() -> List[Decoding]:
    """All that are registered, in the order in which they were."""
    return list(_DECODINGS.values())


def names() -> List[str]:
    """Their names."""
    return list(_DECODINGS)


def find(name: str, option: str = "--decoding") -> Decoding:
    """The decoding of this name.

    Raises:
        BangError: if there is none; ``option`` is what named it.
    """
    if name not in _DECODINGS:
        raise BangError(f"{option} {name}: choose one of {', '.join(_DECODINGS)}{near(name, _DECODINGS)}")
    return _DECODINGS[name]


def unregister(name: str) -> None:
    """Forget a decoding."""
    del _DECODINGS[name]


def readers(option: str, scoring: bool = False) -> List[str]:
    """Names of the decodings in which an option has an effect."""
    return [decoding.name for decoding in decodings() if decoding.understands(option, scoring)]


def needs(option: str, decoding: str, scoring: bool = False) -> str:
    """What a decoding lacks for an option to have an effect, as the rest of a sentence; nothing if it has one."""
    if find(decoding).understands(option, scoring):
        return ""
    if where := readers(option, scoring):
        also = " with --score-reference" if scoring and option != "score_reference" else ""
        return f"needs --decoding {' or '.join(where)}{also}"
    return f"has no effect {'with --score-reference' if readers(option) else 'on BANG'}"
