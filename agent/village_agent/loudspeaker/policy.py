"""How a loudspeaker is used: how loud for which class, when it is quiet, with which chime and amplifier. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from village_wire.broadcasts import Class

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A span of each day in local time, in minutes from midnight: from `begin` up to, not including, `end`."""

    begin: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take `22:00-06:00`. Raises `ValueError`."""
        match = _HOURS.fullmatch(text)
        if match is None:
            raise ValueError("write quiet hours as 22:00-06:00")
        begin, end = (60 * int(match[n]) + int(match[n + 1]) for n in (1, 3))
        if begin == end:
            raise ValueError("quiet hours begin and end at the same time; leave them out, or write 00:00-23:59")
        return cls(begin, end)

    def cover(self, local: datetime) -> bool:
        """Whether they are on when the clock on the wall shows `local`."""
        minute = 60 * local.hour + local.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


@dataclass(frozen=True, slots=True)
class Profile:
    """One loudspeaker's settings. Volumes are in percent; a class without one is as loud as the driver is configured.

    `amplifier` is the switch device that gives it power, switched on `lead_in` seconds before a sound and off `linger` seconds after it.
    `current` is the meter of its amperes, which are at least `current_rise` more while it sounds; `microphone` hears its chime.
    """

    quiet: QuietHours | None = None
    volumes: Mapping[Class, float] = field(default_factory=dict)
    chimes: frozenset[Class] = frozenset()
    amplifier: str | None = None
    lead_in: float = 0.0
    linger: float = 0.0
    current: str | None = None
    current_rise: float = 0.3
    microphone: str | None = None

    def is_quiet(self, local: datetime) -> bool:
        """Whether only the loud classes may begin when the clock on the wall shows `local`."""
        return self.quiet is not None and self.quiet.cover(local)

    def volume(self, rank: Class, asked: float | None) -> float | None:
        """Return the volume of a broadcast; what its sender asked for goes first."""
        return self.volumes.get(rank) if asked is None else asked

    def has_chime(self, rank: Class, *, asked: bool) -> bool:
        """Whether a broadcast opens with a chime: its sender and this loudspeaker must both want it."""
        return asked and rank in self.chimes
