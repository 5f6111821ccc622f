"""Sentences with named places, and what stands in the places of a text.

A template is written as for `str.format`. A place holds one word without blanks, `{*place}` any text. Matching takes the leftmost possible end of each
place and never goes back, so it needs one pass over the text, however hostile that is.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import NamedTuple

from village_wire.language import Bilingual


class Template(NamedTuple):
    """`literals` surround the `places` (one more than those); `free` are the places that may hold blanks."""

    literals: tuple[str, ...]
    places: tuple[str, ...]
    free: frozenset[str]
    chinese: str

    @property
    def weight(self) -> int:
        """How many characters are given: of two templates that fit, the one with more is meant."""
        return sum(map(len, self.literals))

    @property
    def words(self) -> tuple[str, ...]:
        """What stands between blanks in every text that fits, however its places are filled."""
        return tuple(word for word in "\0".join(self.literals).split(" ") if word and "\0" not in word)

    def match(self, text: str) -> dict[str, str] | None:
        """Return what stands in the places, or None where the template does not fit."""
        first, last = self.literals[0], self.literals[-1]
        start, end = len(first), len(text) - len(last)
        if start >= end or not text.startswith(first) or not text.endswith(last):
            return None
        found = {}
        for place, literal in zip(self.places, (*self.literals[1:-1], None), strict=True):
            stop = end if literal is None else text.find(literal, start + 1, end)
            value = text[start:stop]
            if stop <= start or (place not in self.free and " " in value):
                return None
            found[place] = value
            start = stop + len(literal or "")
        return found

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the Chinese sentence."""
        return self.chinese.format_map(values)


def parse(sentence: Bilingual) -> Template:
    """Return the template of a sentence with at least one place."""
    literals, places, free = [""], [], set()
    for literal, name, _, _ in string.Formatter().parse(sentence.en):
        literals[-1] += literal
        if name is not None:
            places.append(name.removeprefix("*"))
            literals.append("")
            if name.startswith("*"):
                free.add(places[-1])
    return Template(tuple(literals), tuple(places), frozenset(free), sentence.zh)
