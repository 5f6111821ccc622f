from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from village_collector.ports import StoreUnavailable
from village_collector.stores import sqlite
from village_collector.stores.sqlite import SqliteStore
from village_collector.times import to_ns
from village_wire.points import encode_point

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def _line(at: datetime, value: float = 1.0, device: str = "d") -> bytes:
    return encode_point("sensor", "a", device, {"value": value}, to_ns(at))


async def _count(store: SqliteStore, device: str = "d") -> int:
    return len(await store.history("a", device, "sensor", "value", _NOW - 4000 * _DAY, _NOW + 10 * _DAY, 100_000))


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "telemetry.db", retention_days=30, clock_ns=lambda: to_ns(_NOW))
    await made.open()
    yield made
    await made.close()


async def test_refuses_times_that_no_clock_has(store: SqliteStore) -> None:
    wrong = [_line(datetime(2019, 12, 31, tzinfo=UTC)), _line(_NOW + 1.1 * _DAY), b"sensor,agent=a,device=d value=1 -5"]
    answer = await store.write(b"\n".join([*wrong, _line(_NOW + 0.9 * _DAY), _line(datetime(2020, 1, 1, tzinfo=UTC))]))
    assert [bad.line for bad in answer] == wrong
    assert "before 2020" in answer[0].reason
    assert await _count(store) == 2


async def test_keeps_everything_over_a_restart(store: SqliteStore, tmp_path: Path) -> None:
    await store.write(_line(_NOW))
    again = SqliteStore(tmp_path / "telemetry.db")
    await again.open()
    await again.write(_line(_NOW - _DAY))
    assert await _count(again) == 2
    await again.close()


async def test_deletes_what_is_over_the_retention(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "DELETE_SLICE", 7)
    old = [_line(_NOW - 31 * _DAY + timedelta(seconds=n), device=f"d{d}") for n in range(20) for d in range(10)]
    new = [_line(_NOW - 29 * _DAY, device=f"d{d}") for d in range(10)]
    assert list(await store.write(b"\n".join(old + new))) == []
    assert await store.delete_expired() == 200
    assert [await _count(store, f"d{d}") for d in range(10)] == [1] * 10
    assert await store.delete_expired() == 0


async def test_reads_go_on_while_another_writes(store: SqliteStore, tmp_path: Path) -> None:
    await store.write(_line(_NOW))
    with sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.write(_line(_NOW - _DAY)))
        async with asyncio.timeout(1):
            assert await _count(store) == 1
        assert not writing.done()
        other.execute("ROLLBACK")
        assert list(await writing) == []
    other.close()
    assert await _count(store) == 2


async def test_a_locked_file_is_said_and_got_over(store: SqliteStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "telemetry.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"telemetry\.db: .*locked.*close that program"):
            await store.write(_line(_NOW))
    other.close()
    await store.write(_line(_NOW))
    assert await _count(store) == 1


async def test_a_full_disk_is_said_and_got_over(store: SqliteStore) -> None:
    await store.write(_line(_NOW))
    lines = b"\n".join(_line(_NOW - timedelta(seconds=n), device=f"d{n % 50}") for n in range(1, 5000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(StoreUnavailable, match=r"telemetry store .*telemetry\.db: .*disk"):
            await store.write(lines)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert await _count(store) == 1
    assert await _count(store, "d1") == 0
    assert list(await store.write(lines)) == []
    assert await _count(store, "d1") == 100


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"not a database " * 1000)
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match="move the file aside"):
        await store.open()
    await store.close()


async def test_a_folder_that_is_absent(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "absent" / "telemetry.db")
    with pytest.raises(StoreUnavailable, match="check that its folder exists"):
        await store.open()
    await store.close()
