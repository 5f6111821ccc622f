"""The words of tables and sentences in English and Chinese, by subject, and the choice between the two."""

from __future__ import annotations

from collections.abc import Mapping

from village_cli.text import alerts, broadcasts, people, sentences, values
from village_wire.language import Bilingual, Language

#: Words by key. Sentences have named places for `str.format`.
WORDS: Mapping[str, Bilingual] = {
    key: both for subject in (values, broadcasts, alerts, people, sentences) for key, both in subject.WORDS.items()
}


def word(key: str, language: Language) -> str:
    """Return a word or sentence; a key that this version does not know is returned as it is."""
    found = WORDS.get(key)
    return found.of(language) if found else key
