"""The deck's texts in both languages, from texts_en.toml and texts_zh.toml."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from .language import LANGUAGES


@cache
def texts(language: str) -> dict[str, Any]:
    """Everything that the deck says in a language: ``title``, …, and ``figure`` and ``table`` by number."""
    return tomllib.loads((Path(__file__).parent / f"texts_{language}.toml").read_text(encoding="utf-8"))


def spoken_of(kind: str, number: int) -> list[dict[str, Any]]:
    """Title, points and notes of a slide, or question and reading of the discussion, in every language."""
    return [texts(language)[kind][str(number)] for language in LANGUAGES]


def pair(name: str) -> list[str]:
    """One of the other texts in every language."""
    return [texts(language)[name] for language in LANGUAGES]
