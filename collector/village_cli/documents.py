"""Reading the collector's documents without trusting them to be complete: a missing member is empty, not a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
    if isinstance(value, dict):
        return " ".join(f"{key}={plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return str(value)


def label(row: Mapping[str, Any]) -> str:
    """Return `agent/device`, or `agent` for a row of the agent itself."""
    device = text(row, "device")
    return f"{text(row, 'agent')}/{device}" if device else text(row, "agent")
