"""The two languages: a text in both, and in which a program speaks to the person at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Bilingual(NamedTuple):
    """One text in both languages."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """Return the text in one language."""
        return self.zh if language == "zh" else self.en


def choose_language(option: str | None, environment: Mapping[str, str]) -> Language:
    """Return the language of the user: the option, else VILLAGE_LANG, else the locale's; English where none says Chinese."""
    for wish in (option, *(environment.get(name) for name in ("VILLAGE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))):
        if wish:
            return "zh" if wish.lower().startswith("zh") else "en"
    return "en"
