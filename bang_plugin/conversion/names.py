"""Names of parameters and sizes, transformers' and ours."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ..errors import BangError

ACTIVATIONS = ("gelu", "relu")  # under the same names, and the same functions


def size(config: dict[str, Any], name: str) -> int:
    """A size that ``config.json`` gives.

    Raises:
        BangError: if it gives none.
    """
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BangError(f"config.json: {name} is {value}, not a number of 1 at least")
    return value


def activation(config: dict[str, Any], name: str) -> str:
    """The activation of the feed-forward parts.

    Raises:
        BangError: if we have none like it.
    """
    value = config.get(name)
    if value not in ACTIVATIONS:
        raise BangError(f"config.json: {name} is {value}, and only {' and '.join(ACTIVATIONS)} can be converted")
    return str(value)


def without_prefix(parameters: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The inner model's parameters, where a model with a head was saved."""
    inner = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return inner or dict(parameters)


def renamed(parameters: dict[str, Tensor], pairs: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """The same under names in which every first part of a pair has become the second."""
    ours = {}
    pairs = tuple(pairs)
    for name, value in parameters.items():
        for theirs, new in pairs:
            name = name.replace(theirs, new)
        ours[name] = value
    return ours
