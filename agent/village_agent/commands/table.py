"""The table of commands that were received: what makes "at most once" survive a restart. Blocks on the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

from village_agent.disk import open_database, put_aside
from village_wire.commands import Command
from village_wire.events import CommandResult, Event

#: A command is remembered for so long after its expiry; then its expiry alone keeps it from being executed.
KEPT_SECONDS = 24 * 3600.0
#: In place of a time that is not known yet: the year 5138.
_NOT_YET = 1e11

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (id TEXT PRIMARY KEY, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS result (
    command TEXT NOT NULL REFERENCES command ON DELETE CASCADE, device TEXT NOT NULL, final INTEGER NOT NULL, sent INTEGER NOT NULL,
    event TEXT NOT NULL, PRIMARY KEY (command, device)
);
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), latest_issued REAL NOT NULL, not_before REAL NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An execution that was accepted and has no final result."""

    command: UUID
    device: str | None


class CommandTable:
    """One open file. Every change is on disk when the method returns. All methods raise `sqlite3.Error` when the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. A damaged one is put aside; `begin` then says from when on commands are told apart again."""
        self._db, damaged = open_database(path, _SCHEMA)
        if not damaged and not self._readable():
            self._db.close()
            put_aside(path)
            self._db, _ = open_database(path, _SCHEMA)
            damaged = True
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("INSERT OR IGNORE INTO clock VALUES (1, 0, ?)", (_NOT_YET if damaged else 0.0,))

    def begin(self, now: datetime) -> None:
        """The time is known: a table that replaces a damaged one knows nothing of commands issued before it."""
        self._db.execute("UPDATE clock SET not_before = ? WHERE not_before = ?", (now.timestamp(), _NOT_YET))

    def distrust(self) -> None:
        """Commands may have been executed that are not in this table: until `begin` all are refused, then those issued before it."""
        self._db.execute("UPDATE clock SET not_before = ?", (_NOT_YET,))

    def known_results(self, command: UUID) -> list[Event] | None:
        """Return the latest result of each device, or None for a command that was never seen."""
        if self._db.execute("SELECT 1 FROM command WHERE id = ?", (str(command),)).fetchone() is None:
            return None
        rows = self._db.execute("SELECT event FROM result WHERE command = ?", (str(command),))
        return [Event.model_validate_json(event) for (event,) in rows]

    def add(self, command: Command, results: Sequence[Event], now: datetime) -> None:
        """Remember a command with its first results, `accepted` or `refused`; forget those that are long expired."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("UPDATE clock SET latest_issued = max(latest_issued, ?)", (command.issued.timestamp(),))
            # Our clock alone must not decide: were it ahead, what is forgotten could be executed again.
            self._db.execute(
                "DELETE FROM command WHERE expires < (SELECT min(?, latest_issued) FROM clock) - ?",
                (now.timestamp(), KEPT_SECONDS),
            )
            self._db.execute("INSERT INTO command VALUES (?, ?)", (str(command.id), command.expires.timestamp()))
            for result in results:
                self._write_result(result)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def finish(self, result: Event) -> None:
        """Replace a device's `accepted` by its final result."""
        self._write_result(result)

    def mark_sent(self, results: Sequence[Event]) -> None:
        """Note that results are in the outbox."""
        self._db.executemany("UPDATE result SET sent = 1 WHERE event = ?", [(_json(result),) for result in results])

    def unsent(self) -> list[Event]:
        """Results that may not have reached the outbox."""
        return [
            Event.model_validate_json(event) for (event,) in self._db.execute("SELECT event FROM result WHERE sent = 0")
        ]

    def unfinished(self) -> list[Unfinished]:
        """What was accepted and has no final result."""
        rows = self._db.execute("SELECT command, device FROM result WHERE final = 0 ORDER BY command, device")
        return [Unfinished(UUID(command), device or None) for command, device in rows]

    def clock(self) -> tuple[datetime, datetime]:
        """Return two times: the latest at which a command was issued, and the one before which this table knows nothing.

        The second is 1970 unless a damaged table was replaced.
        """
        latest, not_before = self._db.execute("SELECT latest_issued, not_before FROM clock").fetchone()
        return datetime.fromtimestamp(latest, UTC), datetime.fromtimestamp(not_before, UTC)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _readable(self) -> bool:
        # A failing card gives back pages that SQLite takes for good. The table holds the commands of a day.
        try:
            known = self._db.execute("SELECT 1 FROM command LIMIT 1").fetchone()
            clock = self._db.execute("SELECT count(*) FROM clock WHERE id = 1").fetchone()[0]
            if clock:
                self.clock()
            for (event,) in self._db.execute("SELECT event FROM result"):
                Event.model_validate_json(event)
            self.unfinished()
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, ValueError, TypeError, OverflowError):
            return False
        # The time is written before the first command.
        return bool(clock) or known is None

    def _write_result(self, event: Event) -> None:
        result = cast("CommandResult", event.data)
        self._db.execute(
            "INSERT OR REPLACE INTO result VALUES (?, ?, ?, 0, ?)",
            (str(result.command), event.device or "", result.outcome != "accepted", _json(event)),
        )


def _json(event: Event) -> str:
    return event.model_dump_json(exclude_none=True)
