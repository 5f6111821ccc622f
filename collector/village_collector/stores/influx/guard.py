"""Keeps lines of a wrong type, form or date away from InfluxDB, which would take them.

The first line that reaches a new shard fixes the type of its field there for every agent: one `value=1i` of one agent made InfluxDB
2.7.12 refuse the `value=1.5` of all others for the rest of the day, and deleting the point did not help. So no such line may arrive.
What this lets through is of a known form; the numbers in it are for InfluxDB to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from village_collector.lines import InvalidLine, parse_line
from village_collector.ports import BadLine
from village_wire.points import KINDS

#: What numbers and times are made of. A line without it is a form, and a few forms stand for millions of lines.
_NUMERIC = b"0123456789.+-"
_SPACES = bytes.maketrans(b"\n", b" ")
#: Forms known to be good, some 150 bytes each; ids without their digits are part of one.
MAX_FORMS = 50_000
_TAGS = re.compile(rb"[a-z]+,agent=[a-z]*,device=[a-z]*")
#: Nanoseconds; a box whose clock is before the first year of this system has no clock.
_EARLIEST, _DAY = 1_577_836_800 * 10**9, 86_400 * 10**9
#: So many first digits of a time in nanoseconds count spans of 28 hours.
_SPAN_DIGITS = 5

#: The type of a field is the same in all kinds that have it.
_TYPES = {name: wanted for fields in KINDS.values() for name, wanted in fields.items()}
_VALUE_FORMS = {float: (b"", b"e", b"E"), int: (b"i",), bool: (b"true", b"false")}
_FIELD_FORMS = frozenset(
    name.encode().translate(None, _NUMERIC) + b"=" + form
    for name, wanted in _TYPES.items()
    for form in _VALUE_FORMS[wanted]
)


class Guard:
    """Remembers the forms that it has seen, so that a line costs a fifth of a microsecond."""

    def __init__(self) -> None:
        self._tags: set[bytes] = set()
        self._fields: set[bytes] = set()

    def sift(self, lines: bytes, now_ns: int) -> tuple[bytes, list[BadLine]]:
        """Return the lines that InfluxDB may have, and those that it may not."""
        return (lines, []) if self.passes(lines, now_ns) else sift_each(lines.split(b"\n"), now_ns)

    def passes(self, lines: bytes, now_ns: int) -> bool:
        """Return True only if every line has a known form, the right types, and a time between 2020 and about a day from now."""
        count = lines.count(b"\n") + 1
        words = lines.translate(_SPACES, _NUMERIC).split(b" ")
        if len(words) != 3 * count or any(words[2::3]):
            return False
        return (
            _know(self._tags, words[0::3], _good_tags)
            and _know(self._fields, words[1::3], _good_fields)
            and _dated(lines, count, now_ns)
        )


def sift_each(lines: Iterable[bytes], now_ns: int) -> tuple[bytes, list[BadLine]]:
    """Return the lines of our subset, as one block, and the others, each with its reason."""
    good: list[bytes] = []
    bad: list[BadLine] = []
    for line in lines:
        if line:
            try:
                if not _EARLIEST <= parse_line(line).time <= now_ns + _DAY:
                    raise InvalidLine("the time is before 2020 or more than a day ahead")
                good.append(line)
            except InvalidLine as error:
                bad.append(BadLine(line, str(error)))
    return b"\n".join(good), bad


def _know(known: set[bytes], words: Sequence[bytes], good: Callable[[bytes], bool]) -> bool:
    new = set(words) - known
    if not all(map(good, new)):
        return False
    if len(known) + len(new) > MAX_FORMS:
        known.clear()
    known |= new
    return True


def _good_tags(form: bytes) -> bool:
    return _TAGS.fullmatch(form) is not None


def _good_fields(form: bytes) -> bool:
    parts = form.split(b",")
    return _FIELD_FORMS.issuperset(parts) and len({part.partition(b"=")[0] for part in parts}) == len(parts)


def _dated(lines: bytes, count: int, now_ns: int) -> bool:
    # Nearly all lines are of today: their times begin with the same digits, which are counted faster than times are read.
    # A time of too few digits passes so; it is in 1970, before any retention.
    digits = len(str(now_ns))
    span = now_ns // 10 ** (digits - _SPAN_DIGITS)
    if lines.count(b" %d" % span) == count or lines.count(b" %d" % span) + lines.count(b" %d" % (span - 1)) == count:
        return True
    times = lines.replace(b"\n", b" ").split(b" ")[2::3]
    return (
        set(map(len, times)) == {digits}
        and b"".join(times).isdigit()
        and min(times) >= b"%d" % _EARLIEST
        and max(times) <= b"%d" % (now_ns + _DAY)
    )
