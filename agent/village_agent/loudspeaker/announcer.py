"""Which announcement a loudspeaker plays, and when. Pure: times and sound are numbers of seconds that come in as arguments.

The rules, in this order:

1. A higher class goes before a lower one, and interrupts it; what was interrupted goes on later at the place where it stopped.
2. Within a class nothing interrupts: what has begun goes before what has not, then first come, first served.
3. What plays is played to its end, also past the time until which it counts. What waits longer than that is skipped; what was
   interrupted and can't go on by then is over.
4. In quiet hours the classes below `alert` wait. What plays when they begin is played to its end.
5. The same content in the same class is heard once: what arrives while its twin waits for its first time is merged with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from village_wire.broadcasts import CLASSES, Class, Stage

#: Classes that quiet hours don't hold back.
LOUD_AT_NIGHT = frozenset({"emergency", "alert"})


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be heard. It may begin at `start` and counts until `end`.

    It is played `times` times with `pause` seconds between the end of one and the beginning of the next. `content` tells twins.
    """

    id: str
    rank: Class
    content: str
    start: float
    end: float
    times: int = 1
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Entry:
    """An announcement on its way. `played` counts whole plays, `position` is where the present one goes on, `due` when it may.

    `begun` is whether the present play has begun.
    """

    announcement: Announcement
    arrival: int
    due: float
    played: int = 0
    position: float = 0.0
    begun: bool = False

    @property
    def order(self) -> tuple[int, bool, int]:
        """The lowest is heard first."""
        return CLASSES.index(self.announcement.rank), not self.begun, self.arrival


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an announcement, to be told to whoever ordered it."""

    id: str
    stage: Stage
    reason: str = ""
    position: float = 0.0


class Announcer:
    """The queue of one loudspeaker. After each change, and at `next_change`, `choose` says what is to be heard."""

    def __init__(self, entries: tuple[Entry, ...] = (), arrivals: int = 0) -> None:
        """`entries` are those of an earlier run; none of them plays."""
        self._entries = {entry.announcement.id: entry for entry in entries}
        self._arrivals = max([arrivals, *(entry.arrival + 1 for entry in entries)])
        self.playing: str | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that is not over, in the order of arrival."""
        return tuple(self._entries.values())

    def add(self, announcement: Announcement, now: float) -> Told:
        """Take an announcement. One that is known already changes nothing."""
        if announcement.id in self._entries:
            return Told(announcement.id, "queued", "known already")
        if now >= announcement.end:
            return Told(announcement.id, "skipped", "expired")
        for entry in self._entries.values():
            twin = entry.announcement
            if (
                (twin.rank, twin.content) == (announcement.rank, announcement.content)
                and not entry.played
                and not entry.begun
            ):
                return Told(announcement.id, "skipped", f"merged with {twin.id}, which says the same")
        self._entries[announcement.id] = Entry(announcement, self._arrivals, announcement.start)
        self._arrivals += 1
        return Told(announcement.id, "queued")

    def choose(self, now: float, *, quiet: bool) -> tuple[Entry | None, list[Told]]:
        """Return what is to be heard now, and what is over because its time ended. What plays goes on unless another is returned."""
        told = [self._over(entry) for entry in self.entries if self._is_over(entry, now)]
        current = self._entries.get(self.playing or "")
        able = [
            entry for entry in self._entries.values() if entry is current or self._may_begin(entry, now, quiet=quiet)
        ]
        best = min(able, key=lambda entry: entry.order, default=None)
        if current is not None and best is not None and best.announcement.rank == current.announcement.rank:
            best = current
        return best, told

    def next_change(self, now: float) -> float | None:
        """Return when `choose` may answer differently by the passing of time alone (quiet hours aside); None for never."""
        times = [
            time
            for entry in self._entries.values()
            if entry.announcement.id != self.playing
            for time in (entry.due, entry.announcement.end)
            if time > now
        ]
        return min(times, default=None)

    def started(self, identity: str) -> None:
        """The loudspeaker begins or goes on with it."""
        self._entries[identity] = replace(self._entries[identity], begun=True)
        self.playing = identity

    def heard(self, position: float) -> None:
        """So much of what plays has been heard."""
        if self.playing is not None:
            self._entries[self.playing] = replace(self._entries[self.playing], position=position)

    def paused(self, position: float) -> Told:
        """What plays was interrupted here."""
        self.heard(position)
        identity, self.playing = self._playing(), None
        return Told(identity, "paused", position=position)

    def finished(self, now: float) -> Told | None:
        """What plays was heard to its end; the answer is None while more times are to come."""
        identity, self.playing = self._playing(), None
        entry = self._entries[identity]
        announcement, played = entry.announcement, entry.played + 1
        due = now + announcement.pause
        if played < announcement.times and due < announcement.end:
            self._entries[identity] = replace(entry, played=played, position=0.0, begun=False, due=due)
            return None
        del self._entries[identity]
        return Told(
            identity, "finished", "" if played == announcement.times else f"{played} of {announcement.times} times"
        )

    def failed(self, reason: str) -> Told:
        """What plays can't be heard."""
        identity, self.playing = self._playing(), None
        del self._entries[identity]
        return Told(identity, "failed", reason)

    def cancel(self, identity: str, reason: str) -> Told | None:
        """Take an announcement away, also while it plays; None for one that is not there."""
        if self._entries.pop(identity, None) is None:
            return None
        if self.playing == identity:
            self.playing = None
        return Told(identity, "cancelled", reason)

    def _playing(self) -> str:
        if self.playing is None:
            raise RuntimeError("nothing plays")
        return self.playing

    def _may_begin(self, entry: Entry, now: float, *, quiet: bool) -> bool:
        return entry.due <= now and (not quiet or entry.announcement.rank in LOUD_AT_NIGHT)

    def _is_over(self, entry: Entry, now: float) -> bool:
        return now >= entry.announcement.end and entry.announcement.id != self.playing

    def _over(self, entry: Entry) -> Told:
        identity = entry.announcement.id
        del self._entries[identity]
        if entry.begun:
            return Told(identity, "preempted", "its time ended while others were heard", entry.position)
        if entry.played:
            return Told(identity, "finished", f"{entry.played} of {entry.announcement.times} times")
        return Told(identity, "skipped", "expired")
