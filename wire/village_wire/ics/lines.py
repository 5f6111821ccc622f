"""The lines of an iCalendar file: folded, escaped, and taken apart again. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FOLD_BYTES = 75
_LINE = re.compile(
    r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)', re.DOTALL
)
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^";:]*)')


class InvalidCalendar(ValueError):
    """Not a calendar that can be used; the text says where and why."""


class Property(NamedTuple):
    """One property; `line` is the number of its first line."""

    line: int
    name: str
    parameters: dict[str, str]
    value: str


def properties(text: str) -> Iterator[Property]:
    """Yield the properties of a file, folded lines joined; raises `InvalidCalendar`."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    whole: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, 1):
        if line[:1] in {" ", "\t"} and whole:
            whole[-1][1].append(line[1:])
        elif line.strip():
            whole.append((number, [line]))
    for number, pieces in whole:
        match = _LINE.fullmatch("".join(pieces))
        if match is None:
            raise InvalidCalendar(f"line {number}: not a line of a calendar")
        parameters = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(match[2])}
        yield Property(number, match[1].upper(), parameters, match[3])


def escape(text: str) -> str:
    """Return a value that stands for the text, without its control characters."""
    plain = "".join(sign for sign in text.replace("\r\n", "\n").replace("\r", "\n") if sign >= " " or sign in "\n\t")
    return plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def unescape(text: str) -> str:
    """Return the text that a value stands for."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] in "nN" else match[1], text)


def fold(line: str) -> Iterator[str]:
    """Cut a line into pieces of 75 bytes, never inside a character."""
    piece = ""
    for sign in line:
        if len((piece + sign).encode()) > _FOLD_BYTES:
            yield piece
            piece = " "
        piece += sign
    yield piece
