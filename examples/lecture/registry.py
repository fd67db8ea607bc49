"""The table of figures and tables: what draws each, from which records and which files of code."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

NUMBERS = range(1, 14)
KINDS = ("figure", "table")


@dataclass(frozen=True)
class Item:
    """A figure or a table.

    Attributes:
        draw: ``draw(found, say)``, with the declared records by name and the language's ``say(english, chinese)``;
            a figure gives an SVG text or a matplotlib figure, a table a list of rows (dictionaries with the same keys).
        records: names in `records.RECORDS` that it may read, and nothing else.
        code: files of this repository that it is drawn from.
    """

    kind: str
    number: int
    draw: Callable
    records: tuple[str, ...]
    code: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.number}"

    @property
    def stem(self) -> str:
        return f"{'fig' if self.kind == 'figure' else 'table'}{self.number:02d}"


_ITEMS: dict[tuple[str, int], Item] = {}


def _register(kind: str, number: int, records: tuple[str, ...], code: tuple[str, ...]) -> Callable:
    def register(draw: Callable) -> Callable:
        if (kind, number) in _ITEMS:
            raise ValueError(f"{kind} {number} is drawn twice")
        _ITEMS[kind, number] = Item(kind, number, draw, records, code)
        return draw

    return register


def figure(number: int, *records: str, code: tuple[str, ...] = ()) -> Callable:
    """Makes a function draw a figure."""
    return _register("figure", number, records, code)


def table(number: int, *records: str, code: tuple[str, ...] = ()) -> Callable:
    """Makes a function give a table's rows."""
    return _register("table", number, records, code)


def items() -> list[Item]:
    """All, by number, the figure before the table."""
    from . import figures, tables

    for package in (figures, tables):
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return [_ITEMS[kind, number] for number in NUMBERS for kind in KINDS if (kind, number) in _ITEMS]
