"""The two languages: a text is written down in both, beside each other."""

from collections.abc import Callable

LANGUAGES = {"en": "English", "zh": "中文"}
Say = Callable[[str, str], str]


def say_in(language: str) -> Say:
    """Picks a language: ``say(english, chinese)``."""
    index = list(LANGUAGES).index(language)
    return lambda english, chinese: (english, chinese)[index]


def suffix(language: str) -> str:
    """What a file's name has before its ending: nothing in English, ``.zh`` in Chinese."""
    return "" if language == "en" else f".{language}"
