"""A broadcast with a start time begins on all loudspeakers together.

At that time the first sample of its content is heard. The chime, as long on every loudspeaker, is counted back from it, and so are the
time for which an amplifier must be on and the silence in which a player shows its pace. A second time begins as far after the first as
on every other loudspeaker. What can't begin at a given moment (a speech chip, a camera) begins as soon as it can from the start time on,
with nothing counted back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from village_agent.loudspeaker.announcer import Entry
from village_agent.loudspeaker.scripts import FileScript, Script
from village_agent.loudspeaker.store import Stored
from village_drivers.abilities import PunctualPlayer
from village_wire.clocks import Instant

#: From the last sample of one time until the player is free, on a small box.
_ENDING_SECONDS = 0.8
#: A moment that is farther away than any lead comes from a clock that was set.
_FAR_SECONDS = 30.0
#: So long before it begins the time is asked for anew; a crystal drifts by 2 ms until then.
SHARPEN_SECONDS = 120.0


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
    handle: object | None, script: Script, stored: Stored, entry: Entry, chime_seconds: float, now: float
) -> Moments | None:
    """When it begins, None for what is not in step: what goes on, what can't, what comes after its time."""
    lead = lead_seconds(handle, script, stored.broadcast.start, chime_seconds)
    if not lead or not isinstance(handle, PunctualPlayer) or not isinstance(script, FileScript) or entry.position:
        return None
    content = stored.start + entry.played * _interval(handle, script, stored)
    if not now < content < now + _FAR_SECONDS:
        return None
    return Moments(content - lead + handle.ahead_seconds, content)


def next_due(handle: object | None, script: Script, stored: Stored, played: int, now: float) -> float:
    """When the time after `played` ones is taken up, of which the last one ends now.

    In step the pause is at least as long as it takes to open the player.
    """
    after_pause = now + stored.broadcast.pause
    if (
        not lead_seconds(handle, script, stored.broadcast.start, 0.0)
        or not isinstance(handle, PunctualPlayer)
        or not isinstance(script, FileScript)
    ):
        return after_pause
    due = stored.start + played * _interval(handle, script, stored) - handle.ahead_seconds
    return due if now <= due < now + max(stored.broadcast.pause, _FAR_SECONDS) else after_pause


def _interval(handle: PunctualPlayer, script: FileScript, stored: Stored) -> float:
    return script.seconds + max(stored.broadcast.pause, handle.ahead_seconds + _ENDING_SECONDS)


def heard_at(now: float, stored: Stored, entry: Entry) -> float:
    """When a broadcast would be heard that is taken up now, or when it is due: by that its quiet hours are judged."""
    return max(now, entry.due if entry.played else stored.start)


class Sharpening:
    """Has the time told anew before something begins in step, once for each beginning."""

    def __init__(self, sharpen: Callable[[float], None]) -> None:
        """`sharpen` is told in how many seconds the time must be right."""
        self._sharpen = sharpen
        self._until = 0.0

    def look(self, now: float, beginnings: Iterable[float]) -> None:
        """`beginnings` is when that begins which waits for its moment."""
        if self._until > now + SHARPEN_SECONDS:
            self._until = 0.0
        near = [time for time in beginnings if max(now, self._until) < time <= now + SHARPEN_SECONDS]
        if near:
            self._until = max(near)
            self._sharpen(min(near) - now)

    def changes(self, beginnings: Iterable[float]) -> list[float]:
        """Return when `look` has something to do."""
        return [time - SHARPEN_SECONDS for time in beginnings if time > self._until]
