"""The ledger of what was lost: class, reason, how much, and the time span of the lost data. A table of the outbox's database."""

from __future__ import annotations

import enum
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

#: Reasons come from collectors too; beyond so many of a class they are counted together.
MAX_REASONS = 30
OTHER = "other reasons"
#: The last nanosecond of the year 9998: a clock that ran wild must not break the ledger.
_MAX_NS = 253_370_764_799_999_999_999

SCHEMA = """
CREATE TABLE IF NOT EXISTS loss (
    class INTEGER NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
    PRIMARY KEY (class, reason)
) WITHOUT ROWID;
"""


class ItemClass(enum.IntEnum):
    """The three classes, the most precious first."""

    EVENT = 0
    RECEIPT = 1
    TELEMETRY = 2


@dataclass(frozen=True, slots=True)
class Lost:
    """An entry of the ledger: `count` lines or events in all, dated from `first` to `last`."""

    item_class: ItemClass
    reason: str
    count: int
    first: datetime
    last: datetime


class Ledger:
    """The table, in the transactions of the caller."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.total: int = db.execute("SELECT coalesce(sum(count), 0) FROM loss").fetchone()[0]

    def note(self, item_class: ItemClass, reason: str, count: int, first_ns: int, last_ns: int) -> None:
        """Enter a loss; the times are those of the lost data, in nanoseconds since 1970."""
        reason = reason[:200]
        known = {name for (name,) in self._db.execute("SELECT reason FROM loss WHERE class = ?", (item_class,))}
        if reason not in known and len(known) >= MAX_REASONS:
            reason = OTHER
        self._db.execute(
            "INSERT INTO loss VALUES (?, ?, ?, ?, ?) ON CONFLICT (class, reason) DO UPDATE"
            " SET count = count + excluded.count, first = min(first, excluded.first), last = max(last, excluded.last)",
            (item_class, reason, count, _text(first_ns), _text(last_ns)),
        )
        self.total += count

    def entries(self) -> list[Lost]:
        """All entries, by class and reason."""
        rows = self._db.execute("SELECT class, reason, count, first, last FROM loss ORDER BY class, reason")
        return [
            Lost(ItemClass(one), reason, count, datetime.fromisoformat(first), datetime.fromisoformat(last))
            for one, reason, count, first, last in rows
        ]


def _text(ns: int) -> str:
    seconds = min(max(ns, 0), _MAX_NS) // 1_000_000_000
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
