"""The one thread that touches the databases, so that a slow SD card never stops the event loop, and how they are opened."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


class DiskThread:
    """Runs functions one after the other in a thread of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` and return its result. Work that was handed over is done even if the caller is cancelled."""
        # Unshielded, a cancelled caller would take work that still waits out of the queue, and its rows with it.
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, work))

    async def close(self) -> None:
        """Return when all work is done and the thread has ended."""
        await self.run(lambda: None)
        self._executor.shutdown(wait=False)


def open_database(path: Path, schema: str) -> tuple[sqlite3.Connection, bool]:
    """Open or create a database in WAL mode; return it and whether a damaged one was put aside as `<name>.damaged`.

    Raises:
        sqlite3.OperationalError: the disk is full, broken or not writable.
    """
    try:
        return _open(path, schema), False
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(path.with_name(f"{path.name}.damaged{suffix}"))
        return _open(path, schema), True


def _open(path: Path, schema: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun by hand.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.executescript(schema)
    except sqlite3.Error:
        db.close()
        raise
    return db
