"""The outbox's database: rows, the batches they were sent in, and the ledger of what was lost. Blocks on the disk.

Telemetry is written with `synchronous=NORMAL`: it survives kill -9, and a power cut but for the last seconds. Events,
receipts and results are written with `FULL`: when `write` has returned they survive a power cut as well.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from village_agent.disk import open_database

#: What a row costs on disk besides its content: row header, indexes, its share of half-filled pages.
ROW_OVERHEAD = 120

_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
    id INTEGER PRIMARY KEY, class INTEGER NOT NULL, batch INTEGER, count INTEGER NOT NULL, key TEXT UNIQUE, content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS item_waiting ON item (class, id) WHERE batch IS NULL;
CREATE INDEX IF NOT EXISTS item_batch ON item (batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS batch (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, lane INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS loss (
    class INTEGER NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
    PRIMARY KEY (class, reason)
);
"""


class ItemClass(enum.IntEnum):
    """The three classes, the most precious first."""

    EVENT = 0
    RECEIPT = 1
    TELEMETRY = 2


class Lane(enum.IntEnum):
    """What travels together: events with receipts, telemetry alone."""

    EVENT = 0
    TELEMETRY = 1


_CLASSES = {Lane.EVENT: (ItemClass.EVENT, ItemClass.RECEIPT), Lane.TELEMETRY: (ItemClass.TELEMETRY,)}


@dataclass(frozen=True, slots=True)
class Item:
    """One row to write: `count` lines of telemetry or one event. A `key` that is already there is not written again."""

    item_class: ItemClass
    count: int
    content: bytes
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent in one message; neither id nor contents change until it is acknowledged. `seq` grows within the file."""

    seq: int
    id: str
    lane: Lane
    contents: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """An entry of the ledger."""

    item_class: ItemClass
    reason: str
    count: int
    first: str
    last: str


class OutboxFile:
    """One open file. Use it from one thread at a time."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open or create the file. A damaged one is put aside (`damaged` is then true).

        Raises:
            sqlite3.Error: the disk is full, broken or not writable.
        """
        self._max_bytes = max_bytes
        self._db, self.damaged = open_database(path, _SCHEMA)
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(count), 0), coalesce(sum(length(content)), 0) FROM item"
        ).fetchone()
        rows, self.waiting, content = row
        self.bytes: int = content + rows * ROW_OVERHEAD
        self.lost: int = self._db.execute("SELECT coalesce(sum(count), 0) FROM loss").fetchone()[0]

    def write(self, items: Sequence[Item], now: datetime) -> None:
        """Commit rows; then forget the oldest telemetry, and after it the oldest receipts, until the bound holds again."""
        full = any(item.item_class is not ItemClass.TELEMETRY for item in items)
        with self._transaction(full=full):
            for item in items:
                cursor = self._db.execute(
                    "INSERT OR IGNORE INTO item (class, count, key, content) VALUES (?, ?, ?, ?)",
                    (item.item_class, item.count, item.key, item.content),
                )
                if cursor.rowcount:
                    self.waiting += item.count
                    self.bytes += len(item.content) + ROW_OVERHEAD
            for item_class in (ItemClass.TELEMETRY, ItemClass.RECEIPT):
                if self.bytes > self._max_bytes:
                    self._drop_oldest(item_class, now)

    def next_batch(
        self, lane: Lane, after: int, limit: int, max_count: int, max_bytes: int, new_id: str
    ) -> Batch | None:
        """Return the next batch behind `after`: one that exists, or a new one (`new_id`) of what waits; None if nothing does.

        At most `limit` rows, `max_count` lines or events and `max_bytes` of content go into a new one (at least one row does).
        """
        found = self._db.execute(
            "SELECT seq, id FROM batch WHERE lane = ? AND seq > ? ORDER BY seq LIMIT 1", (lane, after)
        ).fetchone()
        if found is not None:
            return self._read(found[0], found[1], lane)
        chosen: list[int] = []
        count = size = 0
        for item_class in _CLASSES[lane]:
            rows = self._db.execute(
                "SELECT id, count, length(content) FROM item WHERE batch IS NULL AND class = ? ORDER BY id LIMIT ?",
                (item_class, limit),
            ).fetchall()
            for row, row_count, row_size in rows:
                count, size = count + row_count, size + row_size + 1
                if chosen and (count > max_count or size > max_bytes or len(chosen) == limit):
                    break
                chosen.append(row)
            else:
                continue
            break
        if not chosen:
            return None
        with self._transaction(full=False):
            seq = self._db.execute(
                "INSERT INTO batch (id, lane) VALUES (?, ?) RETURNING seq", (new_id, lane)
            ).fetchone()[0]
            self._db.executemany("UPDATE item SET batch = ? WHERE id = ?", [(seq, row) for row in chosen])
        return self._read(seq, new_id, lane)

    def remove(self, stored: Sequence[str], refused: Sequence[tuple[str, str]], now: datetime) -> None:
        """Forget batches that are stored, and those that were refused (id, reason) after an entry in the ledger."""
        with self._transaction(full=bool(refused)):
            for batch, reason in [*((batch, None) for batch in stored), *refused]:
                found = self._db.execute("SELECT seq FROM batch WHERE id = ?", (batch,)).fetchone()
                if found is None:
                    continue
                rows = self._db.execute(
                    "SELECT class, count(*), sum(count), sum(length(content)) FROM item WHERE batch = ? GROUP BY class",
                    found,
                ).fetchall()
                for item_class, number, count, size in rows:
                    self.waiting -= count
                    self.bytes -= size + number * ROW_OVERHEAD
                    if reason is not None:
                        self.note_loss(ItemClass(item_class), reason, count, now)
                self._db.execute("DELETE FROM item WHERE batch = ?", found)
                self._db.execute("DELETE FROM batch WHERE seq = ?", found)

    def record_loss(self, item_class: ItemClass, reason: str, count: int, now: datetime) -> None:
        """Enter a loss that happened outside the file."""
        with self._transaction(full=True):
            self.note_loss(item_class, reason, count, now)

    def losses(self) -> list[Loss]:
        """The ledger."""
        rows = self._db.execute("SELECT class, reason, count, first, last FROM loss ORDER BY class, reason").fetchall()
        return [Loss(ItemClass(item_class), *rest) for item_class, *rest in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def note_loss(self, item_class: ItemClass, reason: str, count: int, now: datetime) -> None:
        """As `record_loss`, within the caller's transaction."""
        time = now.isoformat(timespec="seconds")
        self._db.execute(
            "INSERT INTO loss VALUES (?, ?, ?, ?, ?) ON CONFLICT (class, reason) DO UPDATE SET count = count + excluded.count, last = excluded.last",
            (item_class, reason[:200], count, time, time),
        )
        self.lost += count

    def _drop_oldest(self, item_class: ItemClass, now: datetime) -> None:
        # What is already in a batch stays: it may be stored at the far end, and is bounded by the uplink's window.
        rows = self._db.execute(
            "SELECT id, count, length(content) FROM item WHERE batch IS NULL AND class = ? ORDER BY id", (item_class,)
        )
        last, dropped = -1, 0
        for row, count, size in rows:
            if self.bytes <= self._max_bytes:
                break
            last, dropped = row, dropped + count
            self.waiting -= count
            self.bytes -= size + ROW_OVERHEAD
        if dropped:
            self._db.execute("DELETE FROM item WHERE batch IS NULL AND class = ? AND id <= ?", (item_class, last))
            self.note_loss(item_class, "outbox full", dropped, now)

    def _read(self, seq: int, batch: str, lane: Lane) -> Batch:
        rows = self._db.execute("SELECT content FROM item WHERE batch = ? ORDER BY class, id", (seq,)).fetchall()
        return Batch(seq, batch, lane, tuple(content for (content,) in rows))

    @contextmanager
    def _transaction(self, *, full: bool) -> Iterator[None]:
        """Commit on success; on an error roll back and restore the counters."""
        counters = self.waiting, self.bytes, self.lost
        self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.waiting, self.bytes, self.lost = counters
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
