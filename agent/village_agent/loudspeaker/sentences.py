"""Cuts a text into sentences, so that a voice that was interrupted goes on at the one that was cut off. Pure."""

from __future__ import annotations

import re

#: The ASCII marks end a sentence only before a space or at the end: `3.14` and `www.gov.cn` are one piece.
_ENDS = re.compile(r"[。！？；…\n]+[”’」』）》]*|[.!?;]+(?=\s|$)")


def sentences(text: str) -> tuple[str, ...]:
    """Return the sentences; joined they are the text. Each has something to speak, unless the whole text has nothing."""
    found: list[str] = []
    begin = 0
    for end in [*(match.end() for match in _ENDS.finditer(text)), len(text)]:
        piece, begin = text[begin:end], end
        if found and (not _speakable(piece) or not _speakable(found[-1])):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return tuple(found)


def _speakable(text: str) -> bool:
    return any(char.isalnum() for char in text)
