"""The outbox's database: rows in three classes, and the batches in which they are sent. Blocks on the disk.

Telemetry is written with `synchronous=NORMAL`: it survives kill -9, and a power cut but for the last half minute. Events,
receipts and results are written with `FULL`: when `write` has returned they survive a power cut as well.

The bound holds for SQLite's files too (`pages`). Telemetry may fill four fifths of it, receipts nine tenths; the rest is
for events alone. What needs room takes it from the oldest telemetry, then from the oldest receipts; an event on disk is never
dropped. If events alone have filled all of it, which takes weeks without a collector, new ones are refused and counted.

Batches exist in memory only: after a restart the same rows are sent in new ones, which the collector's stores make harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from village_agent.disk import open_database
from village_agent.outbox import ledger
from village_agent.outbox.items import ROW_BYTES, Batch, Item, Lane, class_of, pages_for
from village_agent.outbox.ledger import ItemClass, Ledger, Lost
from village_agent.outbox.pages import MAX_WRITE_BYTES, PAGE_BYTES, Pages, Shares

#: The newest events and receipts of an outage that travel at once, ahead of the rest: they tell how things are now.
FRESH_EVENTS = 100
#: Acknowledged batches that one transaction removes.
MAX_FORGOTTEN = 2
#: Rows that one transaction drops.
_DROPPED_AT_ONCE = 64
_FULL = "outbox full"

_SCHEMA = (
    "".join(
        f"CREATE TABLE IF NOT EXISTS {name} (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, first INTEGER NOT NULL,"
        f" last INTEGER NOT NULL, key TEXT{unique}, content BLOB NOT NULL);\n"
        for name, unique in (("event", " UNIQUE"), ("receipt", " UNIQUE"), ("telemetry", ""))
    )
    + ledger.SCHEMA
)


_CLASSES = {
    Lane.EVENT: (ItemClass.EVENT, ItemClass.RECEIPT),
    Lane.BACKLOG: (ItemClass.EVENT, ItemClass.RECEIPT),
    Lane.TELEMETRY: (ItemClass.TELEMETRY,),
}
#: Twentieths of the pages that a class may fill, together with those above it.
_SHARE = {ItemClass.EVENT: 20, ItemClass.RECEIPT: 18, ItemClass.TELEMETRY: 16}
#: Whose rows give way to a class.
_GIVES_WAY = {
    ItemClass.EVENT: (ItemClass.TELEMETRY, ItemClass.RECEIPT),
    ItemClass.RECEIPT: (ItemClass.TELEMETRY, ItemClass.RECEIPT),
    ItemClass.TELEMETRY: (ItemClass.TELEMETRY,),
}


class _Part(NamedTuple):
    """The rows of one class in a batch, ids inclusive."""

    item_class: ItemClass
    first: int
    last: int
    amount: int


class OutboxFile:
    """One open file. Use it from one thread at a time. All methods raise `sqlite3.Error` when the disk refuses; nothing has changed then."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Open or create the file. A damaged one is put aside (`damaged` is then true).

        Raises:
            sqlite3.Error: the disk is full, broken or not writable.
        """
        self._shares = Shares.of(max_bytes)
        self._db, self.damaged = open_database(path, _SCHEMA, ("auto_vacuum = INCREMENTAL",))
        try:
            self._pages = Pages(self._db, path, self._shares)
            self._ledger = Ledger(self._db)
            #: Ids in no batch, by class: half-open intervals, the last one without end. All but the last are backlog.
            self._unsent: dict[ItemClass, list[tuple[int, int]]] = {one: [(0, 2**62)] for one in ItemClass}
            self._batches: dict[str, list[_Part]] = {}
            self._next_id = 1
            #: Lines and events on disk, by class.
            self.waiting_by_class = dict.fromkeys(ItemClass, 0)
            for item_class in ItemClass:
                sums = f"SELECT coalesce(max(id), 0), total(count), total(length(content)) FROM {_table(item_class)}"  # noqa: S608
                top, count, size = self._db.execute(sums).fetchone()
                self._next_id = max(self._next_id, top + 1)
                self.waiting_by_class[item_class] = int(count)
            #: Content of telemetry in no batch.
            self.unsent_telemetry_bytes = int(size)
            self._make_room(ItemClass.EVENT, 0)
            self._pages.limit()
            self._look()
        except BaseException:
            self._db.close()
            raise

    def write(self, items: Sequence[Item], stored: Sequence[str] = ()) -> int:
        """Commit at most `MAX_WRITE_BYTES` of rows, or one row; forget up to `MAX_FORGOTTEN` stored batches in the same transaction.

        Return the number of items for which there was no room; they are in the ledger.
        """
        if stored and self._pages.used + pages_for(items) > self._limit(ItemClass.TELEMETRY):
            # Nothing need give way to what the collector has already.
            self._pages.prepare()
            with self._transaction(full=False):
                self._forget(stored)
            for batch in stored:
                self._batches.pop(batch, None)
        refused: list[Item] = []
        accepted: list[Item] = []
        for item_class, group in groupby(sorted(items, key=class_of), class_of):
            rows = [item for item in group if not self._has(item)]
            (accepted if self._make_room(item_class, pages_for(rows)) else refused).extend(rows)
        self._pages.prepare()
        with self._transaction(full=bool(refused) or any(one.item_class is not ItemClass.TELEMETRY for one in items)):
            self._forget(stored)
            for item in accepted:
                cursor = self._db.execute(
                    f"INSERT OR IGNORE INTO {_table(item.item_class)} VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                    (self._next_id, item.count, item.first_ns, item.last_ns, item.key, item.content),
                )
                if cursor.rowcount:
                    self._next_id += 1
                    self.waiting_by_class[item.item_class] += item.count
                    if item.item_class is ItemClass.TELEMETRY:
                        self.unsent_telemetry_bytes += len(item.content)
            for item in refused:
                self._ledger.note(item.item_class, _FULL, item.count, item.first_ns, item.last_ns)
        for batch in stored:
            self._batches.pop(batch, None)
        return len(refused)

    def next_batch(self, lane: Lane, limit: int, max_count: int, max_bytes: int, new_id: str) -> Batch | None:
        """Return a new batch of what waits in the lane and is in no batch yet; None if nothing does.

        At most `limit` rows, `max_count` lines or events and `max_bytes` of content go into it (at least one row does).
        """
        parts: list[_Part] = []
        contents: list[bytes] = []
        count = size = 0
        for item_class in _CLASSES[lane]:
            spans = self._unsent[item_class]
            span = spans[0] if lane is Lane.BACKLOG and len(spans) > 1 else spans[-1]
            if lane is Lane.BACKLOG and len(spans) == 1:
                continue
            first = last = part_count = 0
            room = True
            for row, row_count, content in self._db.execute(
                f"SELECT id, count, content FROM {_table(item_class)} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
                (*span, limit),
            ):
                count, size = count + row_count, size + len(content) + 1
                if contents and (count > max_count or size > max_bytes or len(contents) == limit):
                    count -= row_count
                    room = False
                    break
                contents.append(content)
                first, last, part_count = first or row, row, part_count + row_count
            if part_count:
                parts.append(_Part(item_class, first, last, part_count))
                spans[spans.index(span)] = (last + 1, span[1])
            elif span is not spans[-1]:
                spans.remove(span)
            if not room:
                break
        if not parts:
            more = lane is Lane.BACKLOG and any(len(self._unsent[one]) > 1 for one in _CLASSES[lane])
            return self.next_batch(lane, limit, max_count, max_bytes, new_id) if more else None
        self._batches[new_id] = parts
        if lane is Lane.TELEMETRY:
            self.unsent_telemetry_bytes -= sum(map(len, contents))
        return Batch(new_id, lane, tuple(contents), count)

    def mark_backlog(self) -> None:
        """Make all but the newest `FRESH_EVENTS` events and receipts that are in no batch the backlog. Call it at each new connection."""
        for item_class in _CLASSES[Lane.BACKLOG]:
            begin, end = self._unsent[item_class][-1]
            found = self._db.execute(
                f"SELECT id FROM {_table(item_class)} WHERE id >= ? ORDER BY id DESC LIMIT 1 OFFSET ?",  # noqa: S608
                (begin, FRESH_EVENTS),
            ).fetchone()
            if found is not None:
                self._unsent[item_class][-1:] = [(begin, found[0] + 1), (found[0] + 1, end)]

    def refuse(self, refused: Sequence[tuple[str, str]]) -> None:
        """Forget batches that the collector will never store (id, reason), after an entry in the ledger."""
        for batch, reason in refused:
            self._pages.prepare()
            with self._transaction(full=True):
                for part in self._batches.get(batch, ()):
                    place = (part.first, part.last)
                    span = self._db.execute(
                        f"SELECT min(first), max(last) FROM {_table(part.item_class)} WHERE id BETWEEN ? AND ?",  # noqa: S608
                        place,
                    ).fetchone()
                    self._ledger.note(part.item_class, reason, part.amount, *span)
                self._forget([batch])
            self._batches.pop(batch, None)

    def record_loss(self, item_class: ItemClass, reason: str, count: int, first_ns: int, last_ns: int) -> None:
        """Enter a loss that happened outside the file."""
        self._pages.prepare()
        with self._transaction(full=True):
            self._ledger.note(item_class, reason, count, first_ns, last_ns)

    def probe(self) -> None:
        """Write a page and wait until the disk has it."""
        self._pages.prepare()
        with self._transaction(full=True):
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            self._db.execute(f"PRAGMA user_version = {(version + 1) % 1000}")

    def losses(self) -> list[Lost]:
        """The ledger."""
        return self._ledger.entries()

    @property
    def waiting(self) -> int:
        """Lines and events on disk."""
        return sum(self.waiting_by_class.values())

    @property
    def lost(self) -> int:
        """Lines and events in the ledger."""
        return self._ledger.total

    @property
    def capacity(self) -> int:
        """Bytes of the bound that telemetry may fill."""
        return self._limit(ItemClass.TELEMETRY) * PAGE_BYTES

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _limit(self, item_class: ItemClass) -> int:
        return self._shares.usable * _SHARE[item_class] // 20

    def _make_room(self, item_class: ItemClass, pages: int) -> bool:
        """Drop what gives way until so many more pages may be used; return whether they may."""
        limit = self._limit(item_class)
        for victim in _GIVES_WAY[item_class]:
            while self._pages.used + pages > limit:
                if not self._drop_oldest(victim, (self._pages.used + pages - limit) * PAGE_BYTES):
                    break
        return self._pages.used + pages <= limit

    def _drop_oldest(self, item_class: ItemClass, wanted: int) -> bool:
        """Drop rows of about `wanted` bytes; return whether there was any. Rows in batches stay: they may be stored at the far end."""
        for begin, end in self._unsent[item_class]:
            chosen = dropped = size = 0
            first_ns, last_ns = 2**63, 0
            rows = self._db.execute(
                f"SELECT id, count, first, last, length(content) FROM {_table(item_class)} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",  # noqa: S608
                (begin, end, _DROPPED_AT_ONCE),
            ).fetchall()
            for number, (row, count, first, last, length) in enumerate(rows, 1):
                chosen, dropped, size = row, dropped + count, size + length
                first_ns, last_ns = min(first_ns, first), max(last_ns, last)
                if size + number * ROW_BYTES >= min(wanted, MAX_WRITE_BYTES):
                    break
            if chosen:
                self._pages.prepare()
                with self._transaction(full=False):
                    self._delete(_Part(item_class, begin, chosen, dropped))
                    self._ledger.note(item_class, _FULL, dropped, first_ns, last_ns)
                    if item_class is ItemClass.TELEMETRY:
                        self.unsent_telemetry_bytes -= size
                return True
        return False

    def _has(self, item: Item) -> bool:
        found = f"SELECT 1 FROM {_table(item.item_class)} WHERE key = ?"  # noqa: S608
        return item.key is not None and self._db.execute(found, (item.key,)).fetchone() is not None

    def _forget(self, batches: Sequence[str]) -> None:
        for batch in batches:
            for part in self._batches.get(batch, ()):
                self._delete(part)

    def _delete(self, part: _Part) -> None:
        place = (part.first, part.last)
        self._db.execute(f"DELETE FROM {_table(part.item_class)} WHERE id BETWEEN ? AND ?", place)  # noqa: S608
        self.waiting_by_class[part.item_class] -= part.amount

    def _look(self) -> None:
        #: Bytes of the database that hold something.
        self.bytes = self._pages.used * PAGE_BYTES
        found = [
            self._db.execute(f"SELECT first FROM {_table(one)} ORDER BY id LIMIT 1").fetchone()  # noqa: S608
            for one in ItemClass
        ]
        #: When the oldest of what waits was measured or happened, nanoseconds since 1970; None if nothing waits.
        self.oldest_ns: int | None = min((row[0] for row in found if row is not None), default=None)

    @contextmanager
    def _transaction(self, *, full: bool) -> Iterator[None]:
        """Commit on success; on an error roll back and restore the counters."""
        counters = dict(self.waiting_by_class), self.unsent_telemetry_bytes, self._next_id, self._ledger.total
        self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self.waiting_by_class, self.unsent_telemetry_bytes, self._next_id, self._ledger.total = counters
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._look()


def _table(item_class: ItemClass) -> str:
    return item_class.name.lower()
