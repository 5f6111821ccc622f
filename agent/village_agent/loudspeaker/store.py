"""The file `loudspeaker.db`: what waits or sounds at each loudspeaker, and receipts on their way to the outbox. Blocks on the disk.

A state and the receipts that tell of it are one transaction: whatever line the agent is killed at, what is over is not heard again,
and its receipt reaches the outbox, with the same id if it was there already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args
from uuid import UUID

from village_agent.disk import open_database
from village_agent.loudspeaker.announcer import Announcement, Entry
from village_wire.commands import Broadcast
from village_wire.events import Event

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    device TEXT NOT NULL, id TEXT NOT NULL, number INTEGER NOT NULL, broadcast TEXT NOT NULL, start REAL NOT NULL,
    fetched INTEGER NOT NULL, script TEXT NOT NULL, arrival INTEGER, due REAL NOT NULL, played INTEGER NOT NULL,
    position REAL NOT NULL, begun INTEGER NOT NULL, sounding INTEGER NOT NULL, PRIMARY KEY (device, id)
);
CREATE TABLE IF NOT EXISTS receipt (id TEXT PRIMARY KEY, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS amplifier (device TEXT PRIMARY KEY);
"""

_WRITE = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#: Device and broadcast.
Key = tuple[str, UUID]
#: What a position counts: seconds of a file, sentences of a text, or nothing in a track of the card.
ScriptKind = Literal["", "seconds", "sentences", "track"]


@dataclass(frozen=True, slots=True)
class Stored:
    """A broadcast at one loudspeaker. `number` is the order in which the agent took it; `start` is when it may begin, seconds since 1970.

    `entry` is the announcer's; None until its sound is there. `sounding` is whether a sound is under way that may not have been noted
    to its end.
    """

    device: str
    id: UUID
    number: int
    broadcast: Broadcast
    start: float
    fetched: bool = False
    script: ScriptKind = ""
    entry: Entry | None = None
    sounding: bool = False

    @property
    def key(self) -> Key:
        """Device and broadcast."""
        return self.device, self.id

    @property
    def announcement(self) -> Announcement:
        """What the announcer sees of it."""
        wanted = self.broadcast
        if wanted.live is not None:
            content = f"live {wanted.live.stream}"
        elif wanted.audio is not None:
            content = f"audio {wanted.audio.sha256}"
        elif wanted.track is not None:
            content = f"track {wanted.track.place}"
        else:
            content = f"text {wanted.text}"
        return Announcement(
            str(self.id), wanted.rank, content, self.start, wanted.end.timestamp(), wanted.times, wanted.pause
        )


class StoreFile:
    """One open file. All methods raise `sqlite3.Error` when the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; a damaged one is put aside and `damaged` set."""
        self._db, self.damaged = open_database(path, _SCHEMA)

    def load(self) -> list[Stored]:
        """What is not over, in the order in which it was taken."""
        return [_stored(row) for row in self._db.execute("SELECT * FROM entry ORDER BY number")]

    def receipts(self) -> list[Event]:
        """Receipts that may not have reached the outbox, in their order."""
        rows = self._db.execute("SELECT event FROM receipt ORDER BY rowid")
        return [Event.model_validate_json(event) for (event,) in rows]

    def amplifiers(self) -> list[str]:
        """Amplifiers that were not switched off."""
        return [device for (device,) in self._db.execute("SELECT device FROM amplifier")]

    def apply(
        self,
        entries: Mapping[Key, Stored | None],
        receipts: Sequence[Event] = (),
        amplifiers: Mapping[str, bool] | None = None,
        *,
        sync: bool = True,
    ) -> None:
        """Write entries (None: it is over) and receipts. Without `sync` it survives the end of the program, but not a power cut."""
        self._db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'OFF'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for (device, identity), stored in entries.items():
                if stored is None:
                    self._db.execute("DELETE FROM entry WHERE device = ? AND id = ?", (device, str(identity)))
                else:
                    self._db.execute(_WRITE, _row(stored))
            for event in receipts:
                text = event.model_dump_json(exclude_none=True)
                self._db.execute("INSERT OR REPLACE INTO receipt VALUES (?, ?)", (str(event.id), text))
            for device, on in (amplifiers or {}).items():
                statement = (
                    "INSERT OR REPLACE INTO amplifier VALUES (?)" if on else "DELETE FROM amplifier WHERE device = ?"
                )
                self._db.execute(statement, (device,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def forget(self, receipts: Iterable[UUID]) -> None:
        """Remove receipts that the outbox has."""
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executemany("DELETE FROM receipt WHERE id = ?", [(str(identity),) for identity in receipts])

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _row(stored: Stored) -> tuple[object, ...]:
    entry = stored.entry or Entry(stored.announcement, -1, stored.start)
    return (
        stored.device,
        str(stored.id),
        stored.number,
        stored.broadcast.model_dump_json(exclude_none=True),
        stored.start,
        stored.fetched,
        stored.script,
        None if stored.entry is None else entry.arrival,
        entry.due,
        entry.played,
        entry.position,
        entry.begun,
        stored.sounding,
    )


def _stored(row: Sequence[object]) -> Stored:
    device, identity, number, broadcast, start, fetched, script, arrival, due, played, position, begun, sounding = row
    stored = Stored(
        str(device),
        UUID(str(identity)),
        int(str(number)),
        Broadcast.model_validate_json(str(broadcast)),
        float(str(start)),
        bool(fetched),
        _script(str(script)),
        None,
        bool(sounding),
    )
    if arrival is None:
        return stored
    entry = Entry(
        stored.announcement,
        int(str(arrival)),
        float(str(due)),
        int(str(played)),
        float(str(position)),
        bool(begun),
    )
    return replace(stored, entry=entry)


def _script(text: str) -> ScriptKind:
    return next((kind for kind in get_args(ScriptKind) if kind == text), "")
