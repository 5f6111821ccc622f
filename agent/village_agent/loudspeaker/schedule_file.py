"""The file `schedules.db`: schedules that count, and which times were dealt with. Blocks on the disk.

A schedule is on disk before it counts. A time is noted before its sound can have ended, so whatever line the agent is killed at, no
programme is heard twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from village_agent.disk import open_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    target TEXT PRIMARY KEY, key TEXT NOT NULL, received REAL NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS decided (id TEXT PRIMARY KEY, due REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS looked (one INTEGER PRIMARY KEY CHECK (one = 1), until REAL NOT NULL);
"""
#: Times that were dealt with are remembered for longer than a missed one is told.
KEPT_SECONDS = 40 * 86_400.0
#: Ten a day for five years; more only where a clock was wrong for long.
MAX_DECIDED = 20_000


class Document(NamedTuple):
    """A signed schedule as it came: its target as text, the key (base64) that signed it, when it came (seconds since 1970), its payload."""

    target: str
    key: str
    received: float
    payload: bytes


class ScheduleFile:
    """One open file. All methods raise `sqlite3.Error` when the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; a damaged one is put aside and `damaged` set."""
        self._db, self.damaged = open_database(path, _SCHEMA)
        self._db.execute("PRAGMA synchronous = FULL")

    def documents(self) -> list[Document]:
        """All schedules."""
        return [Document(*row) for row in self._db.execute("SELECT target, key, received, payload FROM document")]

    def keep(self, document: Document) -> None:
        """Put a schedule in the place of that for the same target."""
        self._db.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?)", document)

    def forget(self, targets: Iterable[str]) -> None:
        """Remove schedules."""
        self._db.executemany("DELETE FROM document WHERE target = ?", [(target,) for target in targets])

    def decided(self) -> dict[UUID, float]:
        """First pieces of the programmes that were handed over, and when they were due."""
        return {UUID(identity): due for identity, due in self._db.execute("SELECT id, due FROM decided")}

    def looked(self) -> float | None:
        """Up to which time all was dealt with, None for a new file."""
        row = self._db.execute("SELECT until FROM looked").fetchone()
        return None if row is None else float(row[0])

    def note(self, decided: dict[UUID, float], looked: float) -> None:
        """Remember what is handed over, each with the time at which it is due, and that all before `looked` is dealt with.

        What is due later was handed over by a clock that was wrong, and is forgotten.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            rows = [(str(identity), due) for identity, due in decided.items()]
            self._db.executemany("INSERT OR REPLACE INTO decided VALUES (?, ?)", rows)
            self._db.execute("INSERT OR REPLACE INTO looked VALUES (1, ?)", (looked,))
            self._db.execute("DELETE FROM decided WHERE due < ? OR due >= ?", (looked - KEPT_SECONDS, looked))
            self._db.execute(
                "DELETE FROM decided WHERE id IN (SELECT id FROM decided ORDER BY due DESC LIMIT -1 OFFSET ?)",
                (MAX_DECIDED,),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()
