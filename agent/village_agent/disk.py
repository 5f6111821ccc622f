"""The one thread that touches the databases, so that a slow SD card never stops the event loop, and how they are opened."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

#: With less than this free, a database can hardly begin a transaction.
_PROBE_BYTES = 64 * 1024


#: What is kept of each file of a damaged database, for whoever looks into it: the room belongs to what comes next.
KEPT_BYTES = 64 * 1024


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


def open_database(path: Path, schema: str, pragmas: Sequence[str] = ()) -> tuple[sqlite3.Connection, bool]:
    """Open or create a database in WAL mode; return it and whether a damaged one was put aside as `<name>.damaged`.

    `pragmas` are executed before the first page is written.

    Raises:
        sqlite3.OperationalError: the disk is full, broken or not writable.
    """
    try:
        return _open(path, schema, pragmas), False
    except sqlite3.OperationalError:
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        # The module can't even read SQLite's complaint about a schema of which random bytes are left.
        put_aside(path)
        return _open(path, schema, pragmas), True


def put_aside(path: Path) -> None:
    """Rename a damaged database to `<name>.damaged`, in place of an earlier one, and keep `KEPT_BYTES` of each of its files.

    Raises:
        sqlite3.OperationalError: the disk refuses.
    """
    try:
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                copy = path.with_name(f"{path.name}.damaged{suffix}")
                part.replace(copy)
                if copy.stat().st_size > KEPT_BYTES:
                    os.truncate(copy, KEPT_BYTES)
    except OSError as error:
        raise sqlite3.OperationalError(f"a damaged file can't be put aside: {error.strerror}") from None


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the error tells of a damaged file, rather than of a disk that refuses."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def disk_code(folder: Path, error: sqlite3.Error) -> str:
    """Return the reason code of `village_wire.states` that fits a refusal. Writes a page to find out."""
    probe = folder / ".probe"
    try:
        with contextlib.ExitStack() as stack:
            descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(probe.unlink, missing_ok=True)
            stack.callback(os.close, descriptor)
            os.write(descriptor, bytes(_PROBE_BYTES))
            os.fsync(descriptor)
    except OSError as problem:
        # A file system that its kernel has set to read-only after an error may still be mounted "rw".
        if problem.errno == errno.EROFS:
            return "disk_read_only"
        if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
            return "disk_full"
    full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return "disk_full" if full else "disk_failed"


def _open(path: Path, schema: str, pragmas: Sequence[str]) -> sqlite3.Connection:
    # Autocommit: transactions are begun by hand.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA cache_size = -512")
        db.executescript(schema)
    except (sqlite3.Error, UnicodeDecodeError):
        db.close()
        raise
    return db
