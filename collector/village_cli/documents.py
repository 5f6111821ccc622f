"""Reading the collector's documents without trusting them to be complete: a missing member is empty, not a traceback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: No document of a collector is nested deeper; what lies below is not shown.
_MAX_DEPTH = 20


def rows(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list member."""
    found = document.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def part(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object member."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def text(row: Mapping[str, Any], name: str) -> str:
    """Return a member as text; absent and null are empty, truth values are as in JSON."""
    return plain(row.get(name))


def plain(value: Any) -> str:
    """Return a JSON value as people read it; a number has at most six significant decimals."""
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
    if isinstance(value, (dict, list)) and depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return " ".join(f"{key}={_plain(item, depth + 1)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(_plain(item, depth + 1) for item in value)
    return str(value)


def number(value: Any) -> float | None:
    """Return a JSON number that is finite and fits a float, else None; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def label(row: Mapping[str, Any]) -> str:
    """Return `agent/device`, or `agent` for a row of the agent itself."""
    device = text(row, "device")
    return f"{text(row, 'agent')}/{device}" if device else text(row, "agent")
