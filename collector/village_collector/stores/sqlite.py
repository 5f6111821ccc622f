"""Telemetry in a SQLite file: the store that needs nothing installed.

One row per value, 28 bytes: a series (agent, device, kind, field) has a number, and samples are kept in the order of (series, time).
One thread writes, another reads; WAL lets neither wait for the other.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from village_collector.lines import InvalidLine, Point, parse_line
from village_collector.ports import BadLine, Field, Sample, StoreUnavailable
from village_collector.times import from_ns, to_ns
from village_wire.points import KINDS, Value

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Measured with 2 M rows: cache 16 MB and a checkpoint each 4,000 pages write 69,000 rows a second in 30 MB; the defaults 44,000.
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    # An acknowledged batch is deleted on the box, so it must survive a power cut here: NORMAL would not see to that.
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-16000",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA busy_timeout=2000",
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, agent TEXT NOT NULL, device TEXT NOT NULL, kind TEXT NOT NULL, field TEXT NOT NULL,
    UNIQUE (agent, device, kind, field)
);
CREATE TABLE IF NOT EXISTS samples (
    series INTEGER NOT NULL, time INTEGER NOT NULL, value NOT NULL, PRIMARY KEY (series, time)
) WITHOUT ROWID;
"""
#: Numbers of series kept in memory, some 150 bytes each; 10,000 agents with 100 fields each fit.
MAX_CACHED_SERIES = 1_000_000
#: Rows deleted, or series looked at, in one go; the writer waits some 20 ms for such a slice.
DELETE_SLICE = 5_000
_RETENTION_PAUSE = 3600.0
_EARLIEST_NS = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 10**9
_DAY_NS = 86_400 * 10**9


class SqliteStore:
    """`ports.TelemetryStore` in one file."""

    def __init__(self, path: Path, retention_days: int = 365, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """`clock_ns` gives nanoseconds since 1970."""
        self._path = path
        self._retention_ns = retention_days * _DAY_NS
        self._clock_ns = clock_ns
        self._writer = ThreadPoolExecutor(1, "telemetry-write")
        self._reader = ThreadPoolExecutor(1, "telemetry-read")
        self._connections = threading.local()
        self._opened = asyncio.Event()
        self._series: dict[tuple[str, str, str, str], int] = {}

    async def open(self) -> None:
        """Make the file and its tables; raises `StoreUnavailable`."""
        await self._call(self._writer, self._create)
        self._opened.set()

    async def close(self) -> None:
        """Close both connections once what they are doing is done."""
        for executor in (self._writer, self._reader):
            await asyncio.get_running_loop().run_in_executor(executor, self._disconnect)
            executor.shutdown(wait=False)

    async def write(self, lines: bytes) -> Sequence[BadLine]:
        """Store a block; see `ports.TelemetryStore`. Times before 2020 or more than a day ahead are refused."""
        return await self._call(self._writer, partial(self._write, lines))

    async def fields(self, agent: str, device: str) -> Sequence[Field]:
        """All fields of a device, by kind and name; see `ports.TelemetryStore`."""
        return await self._call(self._reader, partial(self._fields, agent, device))

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        """The latest samples of one kind by agent; see `ports.TelemetryStore`. For 1,000 agents with ten fields some 20 ms."""
        return await self._call(self._reader, partial(self._latest, kind, device))

    async def history(
        self, agent: str, device: str, kind: str, field: str, start: datetime, end: datetime, limit: int
    ) -> Sequence[Sample]:
        """Samples of one field; see `ports.TelemetryStore`. A thinned sample has the time at which its span begins."""
        wanted = KINDS.get(kind, {}).get(field)
        if wanted is None or start >= end:
            return []
        key = (agent, device, kind, field)
        return await self._call(
            self._reader, partial(self._history, key, wanted, _bounded(start), _bounded(end), limit)
        )

    async def keep_retention(self) -> None:
        """Once the store is open, delete what is older than the retention, each hour and in slices, until cancelled."""
        await self._opened.wait()
        while True:
            try:
                deleted = await self.delete_expired()
                if deleted:
                    _log.info("deleted %d samples that were over the retention from %s", deleted, self._path)
            except StoreUnavailable as error:
                _log.warning("retention: %s", error)
            await asyncio.sleep(_RETENTION_PAUSE)

    async def delete_expired(self) -> int:
        """Delete what is older than the retention now; return the number of samples. Raises `StoreUnavailable`."""
        before = self._clock_ns() - self._retention_ns
        total, first = 0, 0
        while first >= 0:
            deleted, first = await self._call(self._writer, partial(self._delete_slice, before, first))
            total += deleted
        return total

    async def _call(self, executor: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        except sqlite3.Error as error:
            raise StoreUnavailable(self._explain(error)) from None

    def _explain(self, error: sqlite3.Error) -> str:
        name = getattr(error, "sqlite_errorname", "")
        advice = {
            "SQLITE_FULL": "free space on its disk",
            "SQLITE_BUSY": "another program holds it locked: close that program",
            "SQLITE_CANTOPEN": "check that its folder exists and may be written",
            "SQLITE_READONLY": "make it and its folder writable for this user",
            "SQLITE_CORRUPT": "it is damaged: stop the collector, move the file aside and start again",
            "SQLITE_NOTADB": "it is no database: stop the collector, move the file aside and start again",
        }.get("_".join(name.split("_")[:2]), "check its disk")
        return f"telemetry store {self._path}: {error}; {advice}"

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._connections, "open", None)
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, cached_statements=64)
            try:
                for pragma in _PRAGMAS:
                    connection.execute(pragma).fetchall()
            except sqlite3.Error:
                connection.close()
                raise
            self._connections.open = connection
        return connection

    def _disconnect(self) -> None:
        connection: sqlite3.Connection | None = getattr(self._connections, "open", None)
        if connection is not None:
            connection.close()
            self._connections.open = None

    def _create(self) -> None:
        self._connection().executescript(_SCHEMA)

    def _write(self, lines: bytes) -> list[BadLine]:
        bad: list[BadLine] = []
        points: list[Point] = []
        latest = self._clock_ns() + _DAY_NS
        for line in lines.split(b"\n"):
            if line:
                try:
                    point = parse_line(line)
                    _check_time(point.time, latest)
                    points.append(point)
                except InvalidLine as error:
                    bad.append(BadLine(line, str(error)))
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows = [
                (self._series_id(connection, (p.agent, p.device, p.kind, name)), p.time, value)
                for p in points
                for name, value in p.fields.items()
            ]
            connection.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
        except sqlite3.Error:
            # Numbers that this transaction gave out are void, and after a fault of the disk only a new connection is sure.
            self._series.clear()
            self._disconnect()
            raise
        return bad

    def _series_id(self, connection: sqlite3.Connection, key: tuple[str, str, str, str]) -> int:
        known = self._series.get(key)
        if known is not None:
            return known
        found = _find_series(connection, key)
        if found is None:
            cursor = connection.execute("INSERT INTO series (agent, device, kind, field) VALUES (?, ?, ?, ?)", key)
            found = int(cursor.lastrowid or 0)
        if len(self._series) >= MAX_CACHED_SERIES:
            self._series.clear()
        self._series[key] = found
        return found

    def _fields(self, agent: str, device: str) -> list[Field]:
        rows = self._connection().execute(
            "SELECT kind, field, s.time, s.value FROM series JOIN samples s ON s.series = id"
            " WHERE agent = ? AND device = ? AND s.time = (SELECT max(time) FROM samples WHERE series = id)"
            " ORDER BY kind, field",
            (agent, device),
        )
        return [
            Field(kind, name, Sample(from_ns(at), _typed(KINDS[kind][name], value)))
            for kind, name, at, value in rows
            if name in KINDS.get(kind, {})
        ]

    def _latest(self, kind: str, device: str) -> dict[str, list[Field]]:
        known = KINDS.get(kind, {})
        rows = self._connection().execute(
            "SELECT agent, field, s.time, s.value FROM series JOIN samples s ON s.series = id"
            " WHERE kind = ? AND device = ? AND s.time = (SELECT max(time) FROM samples WHERE series = id)"
            " ORDER BY agent, field",
            (kind, device),
        )
        found: dict[str, list[Field]] = {}
        for agent, name, at, value in rows:
            if name in known:
                found.setdefault(agent, []).append(Field(kind, name, Sample(from_ns(at), _typed(known[name], value))))
        return found

    def _history(self, key: tuple[str, str, str, str], wanted: type, start: int, end: int, limit: int) -> list[Sample]:
        connection = self._connection()
        series = _find_series(connection, key)
        if series is None:
            return []
        rows = connection.execute(
            "SELECT time, value FROM samples WHERE series = ? AND time >= ? AND time < ? ORDER BY time LIMIT ?",
            (series, start, end, limit + 1),
        ).fetchall()
        if len(rows) > limit:
            # Beside max(time), SQLite takes `value` from the row that has it.
            value = "value, max(time)" if wanted is bool else "avg(value), 0"
            span = -(-(end - start) // limit)
            rows = connection.execute(
                f"SELECT ? + (time - ?) / ? * ? AS span, {value} FROM samples"  # noqa: S608 - two constants
                " WHERE series = ? AND time >= ? AND time < ? GROUP BY span ORDER BY span",
                (start, start, span, span, series, start, end),
            ).fetchall()
            wanted = bool if wanted is bool else float
        return [Sample(from_ns(row[0]), _typed(wanted, row[1])) for row in rows]

    def _delete_slice(self, before: int, first: int) -> tuple[int, int]:
        # Looks at the series from number `first` on; answers how many samples went and where to go on, -1 at the end.
        connection = self._connection()
        row = connection.execute(
            "SELECT id FROM series WHERE id >= ? AND id < ?"
            " AND EXISTS (SELECT 1 FROM samples WHERE series = id AND time < ?) ORDER BY id LIMIT 1",
            (first, first + DELETE_SLICE, before),
        ).fetchone()
        if row is None:
            last = connection.execute("SELECT max(id) FROM series").fetchone()[0] or 0
            return 0, first + DELETE_SLICE if first + DELETE_SLICE <= last else -1
        cursor = connection.execute(
            "DELETE FROM samples WHERE (series, time) IN"
            " (SELECT series, time FROM samples WHERE series = ? AND time < ? ORDER BY time LIMIT ?)",
            (row[0], before, DELETE_SLICE),
        )
        return cursor.rowcount, row[0]


def _bounded(moment: datetime) -> int:
    # What SQLite can hold; nothing is stored outside of it.
    return max(0, min(to_ns(moment), 2**63 - 1))


def _check_time(time_ns: int, latest: int) -> None:
    if not _EARLIEST_NS <= time_ns <= latest:
        raise InvalidLine("the time is before 2020 or more than a day ahead")


def _find_series(connection: sqlite3.Connection, key: tuple[str, str, str, str]) -> int | None:
    row = connection.execute(
        "SELECT id FROM series WHERE agent = ? AND device = ? AND kind = ? AND field = ?", key
    ).fetchone()
    return None if row is None else int(row[0])


def _typed(wanted: type, value: float) -> Value:
    if wanted is bool:
        return bool(value)
    return float(value) if wanted is float else int(value)
