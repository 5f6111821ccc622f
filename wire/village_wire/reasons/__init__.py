"""Reasons and evidence for people.

Agents, drivers and the collector write them in English, which is what travels, is stored and stands in logs and JSON. Programs that show them to people
translate them last: each module here holds the sentences of one subject, and `told` finds the one that a text was made from.
"""

from __future__ import annotations

from functools import lru_cache

from village_wire.language import Language

#: Longer texts are shown as they are; no reason is so long.
MAX_CHARACTERS = 4000


def told(text: str, language: Language) -> str:
    """Return a reason or evidence in the user's language; what is not known stays as it is. Never raises, whatever the text."""
    if language == "en" or not text or len(text) > MAX_CHARACTERS:
        return text
    return _in_chinese(text)


@lru_cache(maxsize=1024)
def _in_chinese(text: str) -> str:
    # A command that shows English, or no reason at all, spends no time on the sentences.
    from village_wire.reasons.phrasebook import chinese

    return chinese(text)
