"""Draws everything: figures as SVG and PNG, tables as Markdown and CSV, in both languages."""

from dataclasses import dataclass, field
from pathlib import Path

from bang_plugin.errors import BangError

from ..workspace import write_text
from . import render
from .language import LANGUAGES, say_in, suffix
from .records import FOLDER, RECORDS, Found, missing, shown
from .registry import Item, items


@dataclass
class Built:
    """What was drawn.

    Attributes:
        drawn: per item and language the SVG's text or the table's rows.
        left_out: items whose records are missing, with those records' names.
    """

    drawn: dict[tuple[str, str], str | list[dict]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


def check(chosen: list[Item]) -> dict[str, list[str]]:
    """Items, and the discussion, that cannot be drawn, with the records that they lack."""
    asked = {**{item.name: item.records for item in chosen}, "discussion": ("discussion",)}
    return {name: lacking for name, records in asked.items() if (lacking := missing(records))}


def complaint(left_out: dict[str, list[str]]) -> str:
    """Every missing record once, with what needs it and the command that makes it."""
    lines = []
    for name in dict.fromkeys(name for lacking in left_out.values() for name in lacking):
        needed = ", ".join(item for item, lacking in left_out.items() if name in lacking)
        lines.append(f"  {shown(FOLDER / RECORDS[name].path)} ({needed}): {RECORDS[name].command}")
    return "recorded runs are missing, each with the command that makes it:\n" + "\n".join(lines)


def build(folder: Path, missing_ok: bool = False) -> Built:
    """Write ``figures/`` and ``tables/``.

    Raises:
        BangError: if a record is missing and that is not ok.
    """
    chosen = items()
    built = Built(left_out=check(chosen))
    if built.left_out and not missing_ok:
        raise BangError(complaint(built.left_out) + "\nor: --missing-ok draws what can be drawn and lists the rest")
    with render.style():
        for item in chosen:
            if item.name not in built.left_out:
                for language in LANGUAGES:
                    built.drawn[item.name, language] = draw(item, language, folder)
    return built


def draw(item: Item, language: str, folder: Path) -> str | list[dict]:
    """Write one figure or table in one language; returns it."""
    made = item.draw(Found(item.records), say_in(language))
    name = item.stem + suffix(language)
    if item.kind == "figure":
        text = render.svg(made)
        write_text(folder / "figures" / f"{name}.svg", text)
        (folder / "figures" / f"{name}.png").write_bytes(render.png(text))
        return text
    write_text(folder / "tables" / f"{name}.md", render.markdown(made))
    write_text(folder / "tables" / f"{name}.csv", render.comma_separated(made))
    return made
