"""A strict reader of our subset of line protocol, for stores that take lines apart themselves.

`<kind>,agent=<agent>,device=<device> <field>=<value>[,…] <nanoseconds>`; values are `1.5`, `3i`, `true`, of the type that
`points.KINDS` fixes. InfluxDB's own reader takes more (spaces, quotes, other tags); none of that is on our wire.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from village_wire.points import KINDS, Value

_LINE = re.compile(rb"([a-z]{1,40}),agent=([a-z0-9-]{1,32}),device=([a-z0-9-]{1,64}) ([^ ]+) (-?[0-9]{1,19})")
_FLOAT = re.compile(rb"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(rb"-?[0-9]{1,19}i")
_BOOLEANS = {b"true": True, b"false": False}


class InvalidLine(ValueError):
    """The line is not of our subset; the text is the reason."""


class Point(NamedTuple):
    """One line. `time` is in nanoseconds since 1970; every field has the type of `points.KINDS`."""

    kind: str
    agent: str
    device: str
    fields: dict[str, Value]
    time: int


def parse_line(line: bytes) -> Point:
    """Take one line, without its line end, apart; raise `InvalidLine` for one that is not of our subset."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise InvalidLine("not <kind>,agent=…,device=… <field>=<value> <nanoseconds>")
    kind, agent, device = match[1].decode(), match[2].decode(), match[3].decode()
    types = KINDS.get(kind)
    if types is None:
        raise InvalidLine(f"unknown kind {kind!r}")
    time = int(match[5])
    if not -(2**63) <= time < 2**63:
        raise InvalidLine("the time does not fit 64 bits")
    fields: dict[str, Value] = {}
    for part in match[4].split(b","):
        name_bytes, equals, text = part.partition(b"=")
        name = name_bytes.decode(errors="replace")
        wanted = types.get(name)
        if not equals or wanted is None:
            raise InvalidLine(f"{kind} has no field {name[:40]!r}")
        if name in fields:
            raise InvalidLine(f"field {name!r} stands twice")
        fields[name] = _parse_value(name, wanted, text)
    return Point(kind, agent, device, fields, time)


def _parse_value(name: str, wanted: type, text: bytes) -> Value:
    if wanted is float and _FLOAT.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number
    elif wanted is int and _INTEGER.fullmatch(text):
        integer = int(text[:-1])
        if -(2**63) <= integer < 2**63:
            return integer
    elif wanted is bool and text in _BOOLEANS:
        return _BOOLEANS[text]
    raise InvalidLine(f"field {name!r} takes {wanted.__name__}, not {text[:40].decode(errors='replace')!r}")
