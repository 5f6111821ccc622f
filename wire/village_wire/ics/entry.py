"""A programme as it stands in an iCalendar file (RFC 5545): one event each.

The playlist are the attachments and `X-VILLAGE-TEXT` in their order; without any, the description is spoken. Class, volume, chime, seasons and
holidays are `X-VILLAGE-…` properties, which other programs keep or ignore. `DURATION` bounds the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from village_wire.broadcasts import Category
from village_wire.recurrence import Recurrence

#: What a track of the loudspeaker's own card is attached by; its number follows, or `folder/number`.
TRACK = "village-track:"


class Piece(NamedTuple):
    """One piece of a playlist: a text, or where a sound is (`urn:sha256:…`, `village-track:2/15` on the loudspeaker's card, or a path)."""

    text: str = ""
    sound: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A programme as it stands in a calendar."""

    id: str
    title: str
    when: Recurrence
    pieces: tuple[Piece, ...]
    category: Category = "other"
    rank: str = "routine"
    volume: float | None = None
    chime: bool = True
    max_seconds: int = 3600
