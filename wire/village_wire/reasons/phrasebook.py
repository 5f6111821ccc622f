"""All sentences, and the way in which a text is taken apart until they fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

from village_wire.language import Bilingual
from village_wire.reasons import (
    agent,
    alerts,
    broadcasts,
    codes,
    collector,
    devices,
    network,
    requests,
    schedules,
    sound,
    words,
)
from village_wire.reasons.template import Template, parse

SUBJECTS: Final = (sound, broadcasts, devices, agent, collector, requests, schedules, alerts, network, codes, words)
#: How often a text is compared with the sentences at most; a text of hostile form is shown as far as it was understood then.
_MAX_TRIES = 400
#: Two words in a row, of which no name or number is made.
_WORDS: Final = re.compile("[a-z]{2} [a-z]{2}")
#: How deep reasons stand in the places of others; no honest one comes near.
_MAX_DEPTH = 12

_Way = Callable[[str, int], str]


def chinese(text: str) -> str:
    """Return a text in Chinese as far as its sentences are known."""
    return _Telling().tell(text)


def sentences() -> Iterator[Bilingual]:
    """Return every sentence."""
    for subject in SUBJECTS:
        yield from subject.SENTENCES


class _Phrasebook:
    """Sentences without places by their text, the others by the rarest of their words, so that few are compared with a text."""

    def __init__(self) -> None:
        known = tuple(sentences())
        self.whole = {english: zh for english, zh in known if "{" not in english}
        # The system's own words come in capitals or not.
        self.any_case = {english.lower(): zh for english, zh in self.whole.items() if " " in english}
        templates = [parse(sentence) for sentence in known if "{" in sentence.en]
        frequency = Counter(word for template in templates for word in template.words)
        self._by_word: dict[str, list[Template]] = {}
        for template in templates:
            rarest = min(template.words, key=frequency.__getitem__)
            self._by_word.setdefault(rarest, []).append(template)

    def templates(self, text: str) -> list[Template]:
        """Return the templates that may fit, those with more given characters first."""
        found = [template for word in set(text.split(" ")) for template in self._by_word.get(word, ())]
        return sorted(found, key=lambda template: (-template.weight, template.chinese))


@cache
def _phrasebook() -> _Phrasebook:
    return _Phrasebook()


class _Telling:
    """One text: whole sentences are tried first, then its parts."""

    def __init__(self) -> None:
        self._tries = 0
        self._book = _phrasebook()

    def tell(self, text: str, depth: int = 0) -> str:
        """Return a text in Chinese, itself where nothing of it is known."""
        if not text or depth > _MAX_DEPTH or self._tries >= _MAX_TRIES:
            return text
        self._tries += 1
        known = self._book.whole.get(text) or self._book.any_case.get(text.lower())
        if known:
            return known
        several = "; " in text
        for template in self._book.templates(text):
            # Of several reasons only one that is made of several parts itself is a single sentence.
            if several and not any("; " in literal for literal in template.literals):
                continue
            found = template.match(text)
            if found is not None:
                return template.fill({place: self.tell(value, depth + 1) for place, value in found.items()})
        ways: Sequence[_Way] = (self._remark, self._several) if several else (self._remark, self._headed, self._listed)
        for way in ways:
            result = way(text, depth + 1)
            if result != text:
                return result
        return text

    def _remark(self, text: str, depth: int) -> str:
        """`a (b)`."""
        head, bracket, remark = text[:-1].rpartition(" (")
        if not (bracket and text.endswith(")")):
            return text
        return self._joined((head, remark), "{}（{}）".format, text, depth)

    def _several(self, text: str, depth: int) -> str:
        """`a; b`."""
        return self._joined(text.split("; "), lambda *parts: "；".join(parts), text, depth)

    def _headed(self, text: str, depth: int) -> str:
        """`/dev/ttyS0: a`."""
        head, colon, tail = text.partition(": ")
        return self._joined((head, tail), "{}：{}".format, text, depth) if colon else text

    def _listed(self, text: str, depth: int) -> str:
        """`a, b`, where nothing but names and numbers stays in English: a comma also stands within a sentence of somebody."""
        parts = text.split(", ")
        told = [self.tell(part, depth) for part in parts]
        known = all(now != before or not _WORDS.search(before) for now, before in zip(told, parts, strict=True))
        return "，".join(told) if known and told != parts else text

    def _joined(self, parts: Sequence[str], join: Callable[..., str], text: str, depth: int) -> str:
        if len(parts) == 1:
            return text
        told = [self.tell(part, depth) for part in parts]
        return text if told == list(parts) else join(*told)
