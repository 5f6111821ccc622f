"""How the outbox's bound in bytes is divided among SQLite's files, and the pages of the database counted. Blocks on the disk.

The bound covers `outbox.db`, `-wal` and `-shm` together, at every moment: the database by `max_page_count`, the write-ahead log
by refusing a transaction for which it has no room, which happens only while another program holds it open for reading.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

#: SQLite's default; the unit in which everything here is written.
PAGE_BYTES = 4096
#: One frame of the write-ahead log: a page and its header.
_FRAME_BYTES = PAGE_BYTES + 24
#: What one transaction may add to the log. Writers keep to `MAX_WRITE_BYTES` of content at a time, a fifth of it.
TRANSACTION_BYTES = 320 * 1024
#: Content that one transaction writes or removes.
MAX_WRITE_BYTES = 64 * 1024
#: The log is copied into the database when it has this size: pages that change often are then copied once, not a hundred times.
_MAX_LOG_BYTES = 4 * 1024 * 1024
#: The log's index: 32 KiB for the first 4,062 frames, which is more than `_MAX_LOG_BYTES` holds.
_INDEX_BYTES = 64 * 1024
#: Pages that only deleting and the ledger may use.
_SPARE_PAGES = 16
#: A foreign reader delays one write by this much, then the write is refused and tried again later.
_BUSY_MILLISECONDS = 50


@dataclass(frozen=True, slots=True)
class Shares:
    """The parts of a bound. Pages are of `PAGE_BYTES`."""

    log_bytes: int
    pages: int

    @classmethod
    def of(cls, max_bytes: int) -> Shares:
        """Divide a bound; raises `ValueError` below 1 MB, where the log would leave nothing for the database."""
        if max_bytes < 1_000_000:
            raise ValueError("an outbox needs 1,000,000 bytes at the least")
        log = min(_MAX_LOG_BYTES, max(TRANSACTION_BYTES + 16 * _FRAME_BYTES, max_bytes // 5))
        return cls(log, (max_bytes - log - _INDEX_BYTES) // PAGE_BYTES)

    @property
    def usable(self) -> int:
        """Pages for rows."""
        return self.pages - _SPARE_PAGES


class Pages:
    """The pages and the log of one open database."""

    def __init__(self, db: sqlite3.Connection, path: Path, shares: Shares) -> None:
        self._db = db
        self._log = path.with_name(path.name + "-wal")
        self._shares = shares
        self._threshold = shares.log_bytes - TRANSACTION_BYTES
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            # Debian's SQLite would overwrite what is deleted: twice the writes.
            "secure_delete = OFF",
            # A page that leaves the cache before the commit is written to the log twice.
            "cache_spill = OFF",
            "cache_size = -512",
            "temp_store = MEMORY",
            f"journal_size_limit = {self._threshold}",
            f"wal_autocheckpoint = {self._threshold // _FRAME_BYTES}",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()

    @property
    def used(self) -> int:
        """Pages that hold something."""
        return self._number("page_count") - self._number("freelist_count")

    def limit(self) -> None:
        """Set the hard stop, after giving back pages to a bound that is lower than it was. Rows must fit it already."""
        while self._number("page_count") > self._shares.pages and self._number("freelist_count"):
            self.prepare()
            self._db.execute("PRAGMA incremental_vacuum(16)").fetchall()
        self._db.execute(f"PRAGMA max_page_count = {self._shares.pages}").fetchall()

    def prepare(self) -> None:
        """Make sure that the log has room for one transaction.

        Raises:
            sqlite3.OperationalError: another program reads the database and keeps the log from being reused.
        """
        try:
            size = self._log.stat().st_size
        except FileNotFoundError:
            return
        if size <= self._threshold:
            return
        (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if busy:
            raise sqlite3.OperationalError(f"another program reads {self._log.name} and keeps it from being reused")

    def _number(self, pragma: str) -> int:
        return int(self._db.execute(f"PRAGMA {pragma}").fetchone()[0])
