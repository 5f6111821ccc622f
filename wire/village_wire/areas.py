"""Area codes: the one address tree from province to household.

A code is 12 digits (2 province, 2 prefecture, 2 county: GB/T 2260; 3 township: GB/T 10114; 3 village; trailing zeros name
the higher level), then optionally `-gNN` for a grid and, below that, `-hNNN` for a household. A level may be skipped: Dongguan
(441900) has townships and no counties.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_CODE = re.compile(r"([0-9]{12})(-g[0-9]{2}(-h[0-9]{3})?)?", re.ASCII)
#: How many of the 12 digits each level uses.
_WIDTHS = (("province", 2), ("prefecture", 4), ("county", 6), ("township", 9), ("village", 12))


class InvalidArea(ValueError):
    """The text is not an area code."""


def parse_area(text: str) -> str:
    """Return `text` if it is an area code; raise `InvalidArea` otherwise."""
    match = _CODE.fullmatch(text)
    if match is None:
        raise InvalidArea(f"{text[:40]!r} is not an area code (12 digits, then -gNN and -hNNN)")
    digits = match[1]
    width = _width(digits)
    if width == 0:
        raise InvalidArea("an area code names at least a province")
    if match[2] and width != 12:
        raise InvalidArea(f"{text!r}: only a village has grids")
    return text


Area = Annotated[str, AfterValidator(parse_area)]


def level(code: str) -> str:
    """Return `province`, `prefecture`, `county`, `township`, `village`, `grid` or `household`."""
    if "-h" in code:
        return "household"
    if "-g" in code:
        return "grid"
    width = _width(code)
    return next(name for name, w in _WIDTHS if w == width)


def parent(code: str) -> str | None:
    """Return the area directly above, or None for a province."""
    head, dash, _ = code.rpartition("-")
    if dash:
        return head
    width = _width(code)
    above = [w for _, w in _WIDTHS if w < width]
    return code[: above[-1]].ljust(12, "0") if above else None


def chain(code: str) -> list[str]:
    """Return the area itself and all areas above it, nearest first."""
    found: list[str] = []
    current: str | None = code
    while current is not None:
        found.append(current)
        current = parent(current)
    return found


def contains(outer: str, inner: str) -> bool:
    """Tell whether `inner` is `outer` or lies below it."""
    return outer in chain(inner)


def prefix(code: str) -> str:
    """Return the text with which exactly the codes of this area and of those below it begin (for searches)."""
    return code if "-" in code else code[: _width(code)]


def _width(digits: str) -> int:
    used = len(digits[:12].rstrip("0"))
    return next((width for _, width in _WIDTHS if used <= width), 12) if used else 0
