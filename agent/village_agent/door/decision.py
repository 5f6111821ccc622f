"""Who may pass, as a pure function."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Reason = Literal["known_card", "unknown_card", "no_door"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with its reason as it stands in the event."""

    granted: bool
    reason: Reason


def decide(card: str, cards: Collection[str] | None) -> Decision:
    """Judge a card (`26:00123456`) at a reader whose door opens to `cards`; None means that no door belongs to the reader."""
    if cards is None:
        return Decision(granted=False, reason="no_door")
    if card in cards:
        return Decision(granted=True, reason="known_card")
    return Decision(granted=False, reason="unknown_card")
