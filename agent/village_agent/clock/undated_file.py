"""What happened while nobody knew the date, and what was known of the time in this boot. Blocks on the disk.

Rows belong to a boot, because the time since boot means nothing in another one. What an earlier boot left can never be dated: it is
counted as lost when the file is opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from village_agent.clock.clock import Estimate
from village_agent.disk import open_database
from village_agent.outbox.ledger import ItemClass

#: What a row costs on disk besides its content.
ROW_OVERHEAD = 60
#: Reasons in the loss ledger.
NO_DATE, FULL = "no date known", "no room for undated data"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS undated (
    id INTEGER PRIMARY KEY, boot TEXT NOT NULL, class INTEGER NOT NULL, count INTEGER NOT NULL, content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS clock (
    id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, first_offset INTEGER NOT NULL, offset INTEGER NOT NULL,
    error INTEGER NOT NULL, measured INTEGER NOT NULL, source TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS lost (class INTEGER NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (class, reason));
"""

#: A failing card gives back rows whose values are of any type.
_COUNT, _CONTENT = "coalesce(CAST(count AS INTEGER), 0)", "coalesce(CAST(content AS BLOB), x'')"


@dataclass(frozen=True, slots=True)
class Undated:
    """One row: `count` lines of telemetry, or one event or receipt as JSON."""

    item_class: ItemClass
    count: int
    content: bytes


class UndatedFile:
    """One open file. Use it from one thread at a time. All methods raise `sqlite3.Error` when the disk refuses."""

    def __init__(self, path: Path, boot: str, max_bytes: int) -> None:
        """Open or create the file and count what earlier boots left. A damaged one is put aside (`damaged` is then true)."""
        self._boot = boot
        self._max_bytes = max_bytes
        self._db, self.damaged = open_database(path, _SCHEMA)
        with self._transaction(full=True):
            left = self._db.execute("SELECT class, sum(count) FROM undated WHERE boot != ? GROUP BY class", (boot,))
            for item_class, count in left.fetchall():
                self._lose(item_class, NO_DATE, count)
            self._db.execute("DELETE FROM undated WHERE boot != ?", (boot,))
        self._bytes: int = self._db.execute(
            "SELECT coalesce(sum(length(content) + ?), 0) FROM undated", (ROW_OVERHEAD,)
        ).fetchone()[0]

    def add(self, rows: Sequence[Undated]) -> None:
        """Commit rows. Beyond the bound the oldest telemetry goes, then the oldest receipts, and if only events are left the new one."""
        before = self._bytes
        try:
            with self._transaction(full=any(row.item_class is not ItemClass.TELEMETRY for row in rows)):
                for row in rows:
                    self._insert(row)
        except sqlite3.Error:
            self._bytes = before
            raise

    def read(self, max_count: int) -> list[tuple[int, Undated]]:
        """Return the oldest rows with their numbers: some `max_count` lines and events, at least one row if there is one."""
        found: list[tuple[int, Undated]] = []
        for number, item_class, count, content in self._db.execute(
            f"SELECT id, class, {_COUNT}, {_CONTENT} FROM undated WHERE class IN (0, 1, 2) ORDER BY id LIMIT ?",  # noqa: S608
            (max_count,),
        ):
            if found and max_count < count:
                break
            max_count -= count
            found.append((number, Undated(ItemClass(item_class), count, content)))
        return found

    def remove_until(self, number: int) -> None:
        """Forget rows up to a number."""
        with self._transaction(full=False):
            self._db.execute("DELETE FROM undated WHERE id <= ?", (number,))
        self._bytes = self._db.execute(
            "SELECT coalesce(sum(length(content) + ?), 0) FROM undated", (ROW_OVERHEAD,)
        ).fetchone()[0]

    def losses(self) -> list[tuple[ItemClass, str, int]]:
        """What was lost and is not yet in the outbox's ledger: class, reason, count."""
        rows = self._db.execute("SELECT class, reason, count FROM lost ORDER BY class, reason")
        return [(ItemClass(item_class), reason, count) for item_class, reason, count in rows]

    def forget_losses(self) -> None:
        """The losses are in the ledger."""
        with self._transaction(full=True):
            self._db.execute("DELETE FROM lost")

    def remember(self, first_offset_ns: int, estimate: Estimate) -> None:
        """Keep what is known of the time in this boot."""
        with self._transaction(full=True):
            self._db.execute(
                "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?, ?, ?, ?)",
                (
                    self._boot,
                    first_offset_ns,
                    estimate.offset_ns,
                    estimate.error_ns,
                    estimate.measured_ns,
                    estimate.source,
                ),
            )

    def remembered(self) -> tuple[int, Estimate] | None:
        """Return what was known of the time earlier in this boot: the first offset and the last estimate."""
        row = self._db.execute(
            "SELECT first_offset, offset, error, measured, source FROM clock WHERE boot = ?", (self._boot,)
        ).fetchone()
        return None if row is None else (row[0], Estimate(*row[1:]))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _insert(self, row: Undated) -> None:
        size = len(row.content) + ROW_OVERHEAD
        for item_class in (ItemClass.TELEMETRY, ItemClass.RECEIPT):
            if self._bytes + size > self._max_bytes:
                self._drop(item_class, self._bytes + size - self._max_bytes)
        if self._bytes + size > self._max_bytes:
            self._lose(row.item_class, FULL, row.count)
            return
        self._db.execute(
            "INSERT INTO undated (boot, class, count, content) VALUES (?, ?, ?, ?)",
            (self._boot, row.item_class, row.count, row.content),
        )
        self._bytes += size

    def _drop(self, item_class: ItemClass, excess: int) -> None:
        last = dropped = 0
        for number, count, size in self._db.execute(
            f"SELECT id, {_COUNT}, length({_CONTENT}) FROM undated WHERE class = ? ORDER BY id",  # noqa: S608
            (item_class,),
        ):
            if excess <= 0:
                break
            excess -= size + ROW_OVERHEAD
            self._bytes -= size + ROW_OVERHEAD
            last, dropped = number, dropped + count
        if dropped:
            self._db.execute("DELETE FROM undated WHERE class = ? AND id <= ?", (item_class, last))
            self._lose(item_class, FULL, dropped)

    def _lose(self, item_class: int, reason: str, count: int) -> None:
        self._db.execute(
            "INSERT INTO lost VALUES (?, ?, ?) ON CONFLICT (class, reason) DO UPDATE SET count = count + excluded.count",
            (item_class, reason, count),
        )

    @contextmanager
    def _transaction(self, *, full: bool) -> Iterator[None]:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
