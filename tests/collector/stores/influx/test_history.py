"""Long histories from the means, on a real InfluxDB with its real task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers.influx import ORGANISATION, TOKEN, InfluxServer, influx_server
from village_collector.ports import Sample
from village_collector.stores.influx import InfluxAddress, InfluxStore, flux
from village_collector.stores.influx.plan import Admin, Wish
from village_collector.stores.influx.rest import Rest
from village_collector.stores.influx.setup import Setup
from village_collector.times import to_ns
from village_wire.clocks import format_time
from village_wire.points import Value, encode_point

_NOW = datetime.now(UTC)
_MIDNIGHT = _NOW.replace(hour=0, minute=0, second=0, microsecond=0)
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
#: Two samples in each window of five minutes, one window an hour.
_DAYS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as started:
        yield started


@pytest_asyncio.fixture
async def store(server: InfluxServer, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InfluxStore]:
    """A store with a month of readings, set up after they came."""
    name = str(abs(hash(request.node.name)))
    server.make_bucket(name, 90 * 86400)
    made = InfluxStore(InfluxAddress(server.url, ORGANISATION, name, TOKEN, f"{name}-5m"))
    await made.open()
    hours = range(1, _DAYS * 24 + 1)
    block = b"\n".join(line for hour in hours for line in (_line(hour, 1.0), _line(hour, 3.0, _MINUTE)))
    assert list(await made.write(block)) == []
    await Setup(Wish(server.url, ORGANISATION, name, tmp_path), Admin(TOKEN), dry=False, tell=lambda _: None).run()
    yield made
    await made.close()


def _hour(ago: int) -> datetime:
    return _MIDNIGHT - timedelta(hours=ago)


def _line(hours_ago: int, value: float, after: timedelta = _MINUTE * 0) -> bytes:
    moment = to_ns(_hour(hours_ago) + after)
    whole = encode_point("agent", "a", "d", {"lost": hours_ago + int(value)}, moment)
    return encode_point("sensor", "a", "d", {"value": hours_ago + value, "on": bool(after)}, moment) + b"\n" + whole


def _forget_raw(server: InfluxServer, store: InfluxStore, before: datetime) -> None:
    span = {"start": format_time(_FIRST), "stop": format_time(before)}
    server.ask("POST", f"/api/v2/delete?org={ORGANISATION}&bucket={store._address.bucket}", span)


_FIRST = datetime(2000, 1, 1, tzinfo=UTC)


async def test_short_spans_are_raw_and_long_ones_are_means_up_to_the_newest_raw(store: InfluxStore) -> None:
    short = await store.history("a", "d", "sensor", "value", _hour(48), _hour(46), 100)
    assert [sample.value for sample in short] == [49.0, 51.0, 48.0, 50.0]
    newest = encode_point("sensor", "a", "d", {"value": 7.0, "on": True}, to_ns(_NOW - timedelta(seconds=1)))
    await store.write(newest)
    expected: list[tuple[str, str, Sequence[Value], Sequence[Value]]] = [
        ("sensor", "value", [hour + 2.0 for hour in range(_DAYS * 24, 0, -1)], [7.0]),
        ("sensor", "on", [True] * _DAYS * 24, [True]),
        ("agent", "lost", [hour + 2.0 for hour in range(_DAYS * 24, 0, -1)], []),
    ]
    for kind, field, older, last in expected:
        long = await store.history("a", "d", kind, field, _hour(_DAYS * 24), _NOW, 10_000)
        assert [sample.value for sample in long] == [*older, *last]
        assert {type(sample.value) for sample in long} == {bool if field == "on" else float}
        assert [sample.time for sample in long][: _DAYS * 24] == [_hour(hour) for hour in range(_DAYS * 24, 0, -1)]


async def test_long_spans_are_thinned_as_short_ones_are(store: InfluxStore) -> None:
    start = _hour(_DAYS * 24)
    days = await store.history("a", "d", "sensor", "value", start, _MIDNIGHT, _DAYS)
    assert days == [Sample(start + n * _DAY, _DAYS * 24 - n * 24 - 11.5 + 2.0) for n in range(_DAYS)]
    assert len(await store.history("a", "d", "sensor", "on", start, _NOW, 7)) <= 7


async def test_what_the_raw_bucket_forgot_is_still_told(
    store: InfluxStore, server: InfluxServer, tmp_path: Path
) -> None:
    _forget_raw(server, store, _MIDNIGHT - 20 * _DAY)
    bucket = store._address.bucket
    wish = Wish(server.url, ORGANISATION, bucket, tmp_path, retention=20 * _DAY, delete_older=True)
    await Setup(wish, Admin(TOKEN), dry=False, tell=lambda _: None).run()
    await store.open()
    day = await store.history("a", "d", "sensor", "value", _hour(25 * 24), _hour(24 * 24), 100)
    assert [sample.value for sample in day] == [hour + 2.0 for hour in range(25 * 24, 24 * 24, -1)]
    without = InfluxStore(InfluxAddress(server.url, ORGANISATION, bucket, TOKEN))
    await without.open()
    assert list(await without.history("a", "d", "sensor", "value", _hour(25 * 24), _hour(24 * 24), 100)) == []
    await without.close()


async def test_a_task_that_stands_still_hides_no_reading(store: InfluxStore, server: InfluxServer) -> None:
    span = {"start": format_time(_hour(10 * 24)), "stop": format_time(_NOW)}
    server.ask("POST", f"/api/v2/delete?org={ORGANISATION}&bucket={store._address.downsampled_bucket}", span)
    long = await store.history("a", "d", "sensor", "value", _hour(_DAYS * 24), _MIDNIGHT, 10_000)
    assert [sample.value for sample in long[-20 * 24 :]] == [
        value for hour in range(10 * 24, 0, -1) for value in (hour + 1.0, hour + 3.0)
    ]
    assert len(long) == 20 * 24 + 10 * 24 * 2


async def test_the_task_takes_in_late_readings_and_may_run_twice(server: InfluxServer, tmp_path: Path) -> None:
    name = "late"
    wish = Wish(server.url, ORGANISATION, name, tmp_path)
    await Setup(wish, Admin(TOKEN), dry=False, tell=lambda _: None).run()
    store = InfluxStore(InfluxAddress(server.url, ORGANISATION, name, TOKEN, f"{name}-5m"))
    await store.open()
    night = (_MIDNIGHT - _DAY).replace(hour=flux.NIGHT_HOUR)
    late = [night - timedelta(hours=hours) for hours in (2, 26, 7 * 24, 12 * 24, 88 * 24)]
    await store.write(
        b"\n".join(encode_point("sensor", "a", "d", {"value": 1.0, "on": True}, to_ns(at)) for at in late)
    )
    found = server.ask("GET", f"/api/v2/tasks?name=village%20{name}-5m")["tasks"][0]
    script = "\n".join(line for line in found["flux"].splitlines() if not line.startswith("option task"))
    rest = Rest(server.url, TOKEN, ORGANISATION)

    async def run_at(moment: datetime) -> list[datetime]:
        head, _, body = script.partition("\n")
        await rest.query(f"{head}\noption now = () => {format_time(moment)}\n{body}")
        rows = await rest.query(
            f'from(bucket: "{name}-5m") |> range(start: 0) |> filter(fn: (r) => r._field == "value")'
        )
        return sorted(row["_time"] for row in rows)

    assert await run_at(night + timedelta(hours=-1, minutes=2)) == [flux.floor(late[0])]
    for _ in range(2):
        assert await run_at(night + 2 * _MINUTE) == [flux.floor(at) for at in (late[4], late[2], late[1], late[0])]
    await rest.close()
    await store.close()
    # The server's own scheduler takes the script, too.
    server.ask("POST", f"/api/v2/tasks/{found['id']}/runs", {})
    async with asyncio.timeout(10):
        while (task := server.ask("GET", f"/api/v2/tasks/{found['id']}")).get("lastRunStatus") is None:
            await asyncio.sleep(0.05)
    assert str(task["lastRunStatus"]) == "success", task
