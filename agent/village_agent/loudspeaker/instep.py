"""A broadcast with a start time begins on all loudspeakers together.

At that time the first sample of its content is heard. The chime, as long on every loudspeaker, is counted back from it, and so are the
time for which an amplifier must be on and the silence in which a player shows its pace. What can't begin at a given moment (a speech
chip) begins as soon as it can from the start time on, with nothing counted back.
"""

from __future__ import annotations

from typing import NamedTuple

from village_agent.loudspeaker.announcer import Entry
from village_agent.loudspeaker.sounding import FileScript, Script
from village_agent.loudspeaker.store import Stored
from village_drivers.abilities import PunctualPlayer
from village_wire.clocks import Instant


class Moments(NamedTuple):
    """When the chime and the content begin, seconds since 1970."""

    chime: float
    content: float


def lead_seconds(handle: object | None, script: Script, start: Instant | None, chime_seconds: float) -> float:
    """How long before its start time a broadcast is taken up, 0 for what is not in step; `chime_seconds` is 0 without a chime."""
    if start is None or not isinstance(script, FileScript) or not isinstance(handle, PunctualPlayer):
        return 0.0
    # The player is opened anew between the two.
    return handle.ahead_seconds + (handle.ahead_seconds + chime_seconds if chime_seconds else 0.0)


def moments(
    handle: object | None, script: Script, stored: Stored, entry: Entry, chime_seconds: float
) -> Moments | None:
    """When it begins, None for what is not in step: a second time, what goes on, what can't."""
    lead = lead_seconds(handle, script, stored.broadcast.start, chime_seconds)
    if not lead or not isinstance(handle, PunctualPlayer) or entry.played or entry.position:
        return None
    return Moments(stored.start - lead + handle.ahead_seconds, stored.start)


def heard_at(now: float, stored: Stored, entry: Entry) -> float:
    """When a broadcast would be heard that is taken up now, or when it is due: by that its quiet hours are judged."""
    return max(now, entry.due if entry.played else stored.start)
