"""What pydantic refuses, in words for people: its own show patterns and the insides of programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN

_REASONS: Final = {
    "extra_forbidden": "unknown key",
    "missing": "this key is required",
    "tuple_type": 'write a list, as ["one", "another"]',
    "list_type": 'write a list, as ["one", "another"]',
}
_PATTERNS: Final = {
    # Of tags, too.
    AGENT_PATTERN: "write 1 to 32 of a-z, 0-9 and -",
    DEVICE_PATTERN: "write 1 to 64 of a-z, 0-9 and -",
}


def plain_reason(problem: Mapping[str, Any]) -> str:
    """Return what is wrong by one entry of `ValidationError.errors()`, never the value that was given."""
    pattern = (problem.get("ctx") or {}).get("pattern")
    plain = _REASONS.get(problem["type"]) or _PATTERNS.get(str(pattern))
    return plain or str(problem["msg"]).removeprefix("Value error, ")
