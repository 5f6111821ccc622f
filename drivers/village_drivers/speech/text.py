"""Text for speech chips: made harmless, cut into pieces that fit a frame, and given an encoding."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

#: Where a text may be cut, best first: after a sentence, after a clause, after a space, between two words.
#: The ASCII marks end something only before a space, or `3.14` and `10:30` would be cut.
_CUTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"[。！？；…\n]+[”’」』）》]*|[.!?;]+(?=\s)",
        r"[，、：]+|[,:]+(?=\s)",
        r"[^\S\n]+",
        r"(?<=[^0-9A-Za-z])(?=.)|(?<=.)(?=[^0-9A-Za-z])",
    )
)
#: Brackets start a text mark (`[v0]` is silence); their full-width forms are spoken text.
_BRACKETS = str.maketrans("[]", "［］")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that fits into one frame."""

    text: str
    encoding: str


def clean_text(text: str) -> str:
    """Return the text without anything that a chip would execute: no text marks, no control characters but line ends.

    Half characters (lone surrogates), which no encoding can write, become question marks.
    """
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\ufffd", "?")
    lines = re.sub(r"\r\n?", "\n", unicodedata.normalize("NFC", whole)).translate(_BRACKETS)
    return "".join(" " if unicodedata.category(char) == "Cc" and char != "\n" else char for char in lines).strip()


def split_text(text: str, limit: int, wide: str) -> list[Piece]:
    """Cut a text into pieces of at most `limit` bytes each; joined they are the text.

    A piece is GBK, or `wide` (the chip's kind of UTF-16) if it has characters that GBK lacks. Cuts are at punctuation
    where there is any, else at a space or between words, and never inside a character. `limit` is at least 4.
    """
    pieces = []
    while text:
        end = _cut(text, _fitting(text, limit, wide))
        part, text = text[:end], text[end:]
        pieces.append(Piece(part, "gbk" if _is_gbk(part) else wide))
    return pieces


def _fitting(text: str, limit: int, wide: str) -> int:
    """Return how many characters fit into a frame, whichever of the two encodings it will need."""
    narrow_size = wide_size = 0
    in_gbk = True
    for index, char in enumerate(text):
        in_gbk = in_gbk and _is_gbk(char)
        narrow_size += len(char.encode("gbk", "replace"))
        wide_size += len(char.encode(wide))
        if (narrow_size if in_gbk else wide_size) > limit:
            return index
    return len(text)


def _cut(text: str, fitting: int) -> int:
    if fitting == len(text):
        return fitting
    # Two more characters, so that a pattern sees what follows the last one.
    window = text[: fitting + 2]
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(window) if 0 < match.end() <= fitting]
        if ends:
            return ends[-1]
    return fitting


def _is_gbk(text: str) -> bool:
    try:
        text.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True
