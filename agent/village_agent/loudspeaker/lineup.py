"""The announcer's queue with what an earlier run left in it, on a clock that somebody may set. Pure: times come in as arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from village_agent.loudspeaker.announcer import Announcement, Announcer, Entry, Told

#: A clock that is set by more takes the pauses between two times along.
JUMP_SECONDS = 1.0


class Lineup:
    """`announcer` is the present one; it is replaced when entries come from outside its own rules."""

    def __init__(self) -> None:
        self.announcer = Announcer()
        #: Numbers of arrival that an earlier run gave away.
        self._arrivals = 0
        self._offset: float | None = None

    def find(self, identity: str) -> Entry | None:
        """Return an entry, None for one that is not there."""
        return next((entry for entry in self.announcer.entries if entry.announcement.id == identity), None)

    def entry(self, identity: str) -> Entry:
        """Return an entry that is there; raises `KeyError` otherwise."""
        found = self.find(identity)
        if found is None:
            raise KeyError(identity)
        return found

    def add(self, announcement: Announcement, now: float, number: int) -> Told:
        """Take an announcement that came as the `number`th, even where a later one's sound was there before its own."""
        told = self.announcer.add(announcement, now)
        if told.stage == "queued":
            self._rebuild(
                replace(entry, arrival=number) if entry.announcement.id == announcement.id else entry
                for entry in self.announcer.entries
            )
        return told

    def reserve(self, arrival: int) -> None:
        """What comes from now on is after an entry that will be restored."""
        self._arrivals = max(self._arrivals, arrival + 1)
        self._rebuild(self.announcer.entries)

    def restore(self, entry: Entry) -> None:
        """Take an entry of an earlier run at its place."""
        self._rebuild([*self.announcer.entries, entry])

    def follow_clock(self, now: float, steady: float) -> None:
        """`steady` counts the same seconds as `now` on a clock that nobody sets: setting one makes no pause longer or shorter."""
        offset = now - steady
        by = offset - (offset if self._offset is None else self._offset)
        self._offset = offset
        if abs(by) > JUMP_SECONDS:
            self._rebuild(
                replace(entry, due=entry.due + by) if entry.played and not entry.begun else entry
                for entry in self.announcer.entries
            )

    def _rebuild(self, entries: Iterable[Entry]) -> None:
        playing = self.announcer.playing
        self.announcer = Announcer(tuple(sorted(entries, key=lambda entry: entry.arrival)), self._arrivals)
        self.announcer.playing = playing
