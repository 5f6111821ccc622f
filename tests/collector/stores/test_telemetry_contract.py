"""What every telemetry store promises, on the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers.influx import BUCKET, ORGANISATION, TOKEN, InfluxServer, influx_server
from village_collector.ports import Field, Sample, TelemetryStore
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.stores.sqlite import SqliteStore
from village_collector.times import to_ns
from village_wire.points import Value, encode_point

_NOW = datetime.now(UTC).replace(microsecond=250_000)


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as server:
        yield server


@pytest_asyncio.fixture(params=["sqlite", "influx"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TelemetryStore]:
    made: TelemetryStore
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "telemetry.db")
    else:
        server: InfluxServer = request.getfixturevalue("influx")
        made = InfluxStore(InfluxAddress(server.url, ORGANISATION, BUCKET, TOKEN))
    try:
        await made.open()
        yield made
    finally:
        await made.close()


@pytest.fixture
def agent(request: pytest.FixtureRequest) -> str:
    """One agent per test, since the tests share a bucket."""
    return f"a-{abs(hash(request.node.name)) % 10**8}"


def _line(
    agent: str, fields: dict[str, Value], after: float = 0.0, *, device: str = "d", kind: str = "sensor"
) -> bytes:
    return encode_point(kind, agent, device, fields, to_ns(_NOW + timedelta(seconds=after)))


def _at(seconds: float) -> datetime:
    return _NOW + timedelta(seconds=seconds)


async def _all(store: TelemetryStore, agent: str, field: str, limit: int = 1000, kind: str = "sensor") -> list[Sample]:
    return list(await store.history(agent, "d", kind, field, _at(-86400), _at(3600), limit))


async def test_gives_back_what_was_written(store: TelemetryStore, agent: str) -> None:
    lines = [
        _line(agent, {"temperature_c": 20.0, "on": True}, -10),
        _line(agent, {"temperature_c": 21.5}, -5),
        _line(agent, {"memory_bytes": 2**40, "outbox_hours": 3.0}, -7, kind="agent"),
        _line(agent, {"temperature_c": 99.0}, -1, device="other"),
    ]
    assert list(await store.write(b"\n".join(lines))) == []
    assert await _all(store, agent, "temperature_c") == [Sample(_at(-10), 20.0), Sample(_at(-5), 21.5)]
    assert await _all(store, agent, "on") == [Sample(_at(-10), True)]
    assert list(await store.fields(agent, "d")) == [
        Field("agent", "memory_bytes", Sample(_at(-7), 2**40)),
        Field("agent", "outbox_hours", Sample(_at(-7), 3.0)),
        Field("sensor", "on", Sample(_at(-10), True)),
        Field("sensor", "temperature_c", Sample(_at(-5), 21.5)),
    ]
    types = [type(field.latest.value) for field in await store.fields(agent, "d")]
    assert types == [int, float, bool, float]


async def test_the_latest_of_one_kind_by_agent(store: TelemetryStore, agent: str) -> None:
    device = f"own-{agent}"
    lines = [
        _line(name, fields, after, device=place, kind="agent")
        for name, fields, after, place in (
            (f"{agent}x", {"outbox_hours": 3.0, "lost": 0}, -10, device),
            (f"{agent}x", {"outbox_hours": 2.0}, -5, device),
            (f"{agent}y", {"outbox_hours": 1.0}, -20, device),
            (f"{agent}y", {"outbox_hours": 9.0}, -1, "other"),
        )
    ]
    assert list(await store.write(b"\n".join(lines))) == []
    assert {name: list(found) for name, found in (await store.latest("agent", device)).items()} == {
        f"{agent}x": [
            Field("agent", "lost", Sample(_at(-10), 0)),
            Field("agent", "outbox_hours", Sample(_at(-5), 2.0)),
        ],
        f"{agent}y": [Field("agent", "outbox_hours", Sample(_at(-20), 1.0))],
    }
    assert await store.latest("nonsense", device) == {}
    assert await store.latest("agent", "nobody") == {}


async def test_the_span_is_half_open_and_unknown_things_are_empty(store: TelemetryStore, agent: str) -> None:
    await store.write(b"\n".join(_line(agent, {"value": float(n)}, n) for n in range(-3, 1)) + b"\n")
    found = await store.history(agent, "d", "sensor", "value", _at(-3), _at(0), 10)
    assert [sample.value for sample in found] == [-3.0, -2.0, -1.0]
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
    assert len(await store.history(agent, "d", "sensor", "value", first, last, 10)) == 4
    for device, kind, field in (
        ("x", "sensor", "value"),
        ("d", "x", "value"),
        ("d", "sensor", "x"),
        ('" or true', "sensor", "value"),
    ):
        assert list(await store.history(agent, device, kind, field, first, last, 10)) == []
    assert list(await store.history(agent, "d", "sensor", "value", _at(0), _at(0), 10)) == []
    assert list(await store.fields(agent, 'd" or true or r.x == "')) == []


async def test_writing_twice_leaves_one_sample(store: TelemetryStore, agent: str) -> None:
    line = _line(agent, {"value": 1.0}, -1)
    for block in (line, line + b"\n" + line):
        assert list(await store.write(block)) == []
    assert len(await _all(store, agent, "value")) == 1


async def test_bad_lines_are_named_and_the_others_stored(store: TelemetryStore, agent: str) -> None:
    await store.write(_line(agent, {"value": 0.0}, -1000))
    good = [_line(agent, {"value": float(n)}, -n) for n in range(1, 200)]
    prefix = f"sensor,agent={agent},device=d ".encode()
    conflict = prefix + b"value=7i " + str(to_ns(_at(-0.5))).encode()
    bad = [prefix + b"value= 1", prefix + b"value=1.5 x", conflict, prefix[:-1]]
    block = [*good[:50], bad[0], *good[50:60], bad[1], bad[2], *good[60:], bad[3]]
    answer = await store.write(b"\n".join(block))
    assert {line.line for line in answer} == set(bad)
    assert all(line.reason for line in answer)
    assert len(await _all(store, agent, "value")) == 200


async def test_a_block_of_bad_lines_only(store: TelemetryStore, agent: str) -> None:
    bad = [f"sensor,agent={agent},device=d x{n}".encode() for n in range(1000)]
    answer = await store.write(b"\n".join(bad))
    assert sorted(line.line for line in answer) == sorted(bad)


async def test_long_histories_are_thinned_to_equal_spans(store: TelemetryStore, agent: str) -> None:
    lines = [_line(agent, {"value": float(n), "on": n % 10 == 9}, n - 1000) for n in range(1000)]
    assert list(await store.write(b"\n".join(lines))) == []
    means = await store.history(agent, "d", "sensor", "value", _at(-1000), _at(0), 10)
    assert means == [Sample(_at(-1000 + 100 * n), 49.5 + 100 * n) for n in range(10)]
    lasts = await store.history(agent, "d", "sensor", "on", _at(-1000), _at(0), 10)
    assert lasts == [Sample(_at(-1000 + 100 * n), True) for n in range(10)]
    assert len(await store.history(agent, "d", "sensor", "value", _at(-1000), _at(0), 1000)) == 1000
    uneven = await store.history(agent, "d", "sensor", "value", _at(-1000.25), _at(7), 7)
    assert 6 <= len(uneven) <= 7
    assert uneven[0].time == _at(-1000.25)


async def test_whole_numbers_thin_to_means(store: TelemetryStore, agent: str) -> None:
    lines = [_line(agent, {"lost": n}, n - 10, kind="agent") for n in range(10)]
    await store.write(b"\n".join(lines))
    found = await store.history(agent, "d", "agent", "lost", _at(-10), _at(0), 5)
    assert [sample.value for sample in found] == [0.5, 2.5, 4.5, 6.5, 8.5]


async def test_reads_and_writes_at_once(store: TelemetryStore, agent: str) -> None:
    async def write(part: int) -> None:
        lines = [_line(agent, {"value": 1.0}, -n * 10 - part) for n in range(200)]
        assert list(await store.write(b"\n".join(lines))) == []

    async with asyncio.TaskGroup() as group:
        for part in range(8):
            group.create_task(write(part), name=f"write {part}")
            group.create_task(store.fields(agent, "d"), name=f"read {part}")
    assert len(await _all(store, agent, "value", 2000)) == 1600
