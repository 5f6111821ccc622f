"""Messages of the case folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from village_drivers.kit import Message

CASES = sorted(path for path in (Path(__file__).parent / "cases").iterdir() if path.is_dir())


def encode(payload: Any) -> bytes:
    """Return a payload as devices send it: text as it is, anything else as compact JSON."""
    return (
        payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    ).encode()


def messages_of(case: Path) -> list[Message]:
    """Return the messages of a case in the order of their arrival."""
    listed = json.loads((case / "messages.json").read_text())["messages"]
    return [Message(entry["topic"], encode(entry["payload"]), entry["retained"]) for entry in listed]


def expected_of(case: Path) -> dict[str, Any]:
    """Return what a case should come to."""
    found: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return found
