"""In which of the two languages a program speaks to the person at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal


def choose_language(option: str | None, environment: Mapping[str, str]) -> Literal["en", "zh"]:
    """Return the language of the user: the option, else VILLAGE_LANG, else the locale's; English where none says Chinese."""
    for wish in (option, *(environment.get(name) for name in ("VILLAGE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))):
        if wish:
            return "zh" if wish.lower().startswith("zh") else "en"
    return "en"
