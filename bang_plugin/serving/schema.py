"""What a request may ask for: OpenAI's fields, and the options of decoding from the one table of them."""

import re
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Dict, List, Literal, Optional, Tuple

from fairseq.dataclass.configs import GenerationConfig
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..decoding import registry
from ..decoding.option_table import OPTIONS, TASK_OPTIONS
from ..hub import BangHub

# OpenAI's names of options of the table
NAMES = {"max_len_b": "max_tokens", "nbest": "n"}
# numbers without a bound of their own: powers and quotients of these stay finite
LARGEST = 64.0
# below this a temperature asks for the best token
COLD = 0.01

Text = Annotated[str, Field(max_length=1_000_000)]
Neutral = Annotated[Optional[float], Field(ge=0, le=0, description="0 only")]


class Strict(BaseModel):
    """Refuses fields that it does not know, and converts nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class StreamOptions(Strict):
    """OpenAI's."""

    include_usage: bool = Field(default=False, description="a last event tells the tokens")


class Completion(Strict):
    """OpenAI's fields of a completion."""

    model: Optional[str] = Field(default=None, description="name of the model; default: the one that is served")
    prompt: Text | Annotated[List[Text], Field(min_length=1)] = Field(description="a source text, or several")
    logprobs: Optional[int] = Field(default=None, ge=0, le=1, description="log-probabilities of the tokens written")
    stream: bool = Field(default=False, description="server-sent events, one for each decoder pass")
    stream_options: Optional[StreamOptions] = None
    trace: bool = Field(default=False, description="what each pass proposed and kept, as in --trace-file")
    seed: Optional[int] = Field(default=None, ge=0, le=2**53 - 1, description="of sampling")
    user: Optional[str] = Field(default=None, description="has no effect")
    echo: Optional[Literal[False]] = None
    suffix: None = None
    stop: None = None
    logit_bias: None = None
    top_p: Annotated[Optional[float], Field(ge=1, le=1, description="1 only; see sampling_topp")] = None
    best_of: Annotated[Optional[int], Field(ge=1, le=1, description="1 only; see beam")] = None
    frequency_penalty: Neutral = None
    presence_penalty: Neutral = None


class Scoring(Strict):
    """Texts to score."""

    model: Optional[str] = Field(default=None, description="name of the model; default: the one that is served")
    prompt: Text | Annotated[List[Text], Field(min_length=1)] = Field(description="source texts")
    completion: Text | Annotated[List[Text], Field(min_length=1)] = Field(description="an answer to each")


@dataclass(frozen=True)
class Servable:
    """An option of the table, as requests know it.

    Attributes:
        name, field: in the table and in a request.
        kind: Python type of a value.
        default: without the option.
        least, most: bounds, both allowed.
        help: what it does.
    """

    name: str
    field: str
    kind: Any
    default: Any
    least: Optional[float]
    most: Optional[float]
    help: str

    @property
    def annotation(self) -> Any:
        """Type of the field, None being as good as nothing."""
        return Optional[self.kind]

    def declared(self) -> Any:
        """The field with its default."""
        limits: Dict[str, Any] = {"ge": self.least, "le": self.most} if self.kind in (int, float) else {}
        if self.kind is float:
            limits["allow_inf_nan"] = False
        return Field(default=self.default, description=self.help, **limits)


def in_fields(text: str) -> str:
    """A text that names options as they are typed, in the words of a request."""

    def field(found: "re.Match[str]") -> str:
        name = found.group(1).replace("-", "_")
        return NAMES.get(name, name)

    return re.sub(r"--([a-z][a-z-]*)", field, text)


def servable(hub: BangHub, scoring: bool = False) -> List[Servable]:
    """The options that a request may hold, with this model's defaults; ``decoding`` comes first."""
    kinds = "; ".join(f"{d.name}: {in_fields(d.help)}" for d in registry.decodings() if not scoring or d.likelihood)
    names = tuple(d.name for d in registry.decodings() if not scoring or d.likelihood)
    choices: Any = Literal.__getitem__(names)
    found = [Servable("decoding", "decoding", choices, hub.task.cfg.decoding, None, None, kinds)]
    vocabulary, positions = len(hub.tgt_dict), int(min(m.max_decoder_positions() for m in hub.models))
    for name, option in OPTIONS.items():
        of_task = name in TASK_OPTIONS
        offered = option.in_validation or name == "nbest"
        if not offered or not registry.readers(name, scoring) or scoring and not of_task:
            continue
        config = TASK_DATACLASS_REGISTRY["bang"] if of_task else GenerationConfig
        entry = config.__dataclass_fields__[name]
        default = getattr(hub.task.cfg if of_task else hub.cfg.generation, name)
        kind: Any = entry.type
        if type(None) in typing.get_args(kind):
            [kind] = [part for part in typing.get_args(kind) if part is not type(None)]
        if name == "decoding_args":
            kind = Dict[str, Any]
        least, most = _bounds(name, kind, default, vocabulary, positions)
        if name == "max_len_b":
            default = min(default, positions - 1)
        readers = ", ".join(registry.readers(name, scoring))
        found.append(
            Servable(
                name,
                NAMES.get(name, name),
                kind,
                default,
                least,
                most,
                f"{in_fields(entry.metadata['help'])} ({readers})",
            )
        )
    return found


def _bounds(
    name: str, kind: Any, default: Any, vocabulary: int, positions: int
) -> Tuple[Optional[float], Optional[float]]:
    option = OPTIONS[name]
    if kind is float:
        return option.least if option.least is not None else -LARGEST, option.most or LARGEST
    if kind is not int:
        return None, None
    least = option.least if option.least is not None else min(default or 0, 0)
    if name in ("max_len_b", "min_len"):
        return (1 if name == "max_len_b" else 0), positions - 1
    return least, option.most or vocabulary - 1


def model_of(base: type[Strict], options: List[Servable], name: str) -> type[Strict]:
    """The request with the options as fields."""
    fields: Dict[str, Any] = {option.field: (option.annotation, option.declared()) for option in options}
    made: type[Strict] = create_model(name, __base__=base, **fields)
    return made


def chosen(request: Strict, options: List[Servable]) -> Dict[str, Any]:
    """The options that a request gives, under the table's names."""
    values = {
        option.name: getattr(request, option.field) for option in options if option.field in request.model_fields_set
    }
    values = {name: value for name, value in values.items() if value is not None}
    if values.get("temperature", 1.0) < COLD:
        # OpenAI's way to ask for the best token
        values = {name: value for name, value in values.items() if not name.startswith(("temperature", "sampling"))}
    return values
