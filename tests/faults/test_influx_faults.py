"""A real InfluxDB that is away, killed, slow, full, or closed to us: nothing is lost, and the maintainer is told what it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.peers import free_port
from tests.peers.fault_proxy import fault_proxy
from tests.peers.influx import ORGANISATION, TOKEN, InfluxServer, influx_server
from village_collector import retry
from village_collector.health import collector_health
from village_collector.ingest import Ingest
from village_collector.stores.control import ControlStore
from village_collector.stores.influx import InfluxAddress, InfluxStore
from village_collector.stores.influx.plan import Admin, Wish
from village_collector.stores.influx.rest import Rest
from village_collector.stores.influx.setup import Setup
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_LINES, encode_point
from village_wire.presence import Ack, decode_message

#: A line of each batch in its own nanosecond, so that what is stored can be counted.
_LINES = 50
_RESEND_SECONDS = 1.0


class Site:
    """An agent that sends batches until they are acknowledged, and the ingest that takes them."""

    def __init__(self, store: InfluxStore, control: ControlStore) -> None:
        self.ingest = Ingest(store, control, self._take)
        self.acknowledged: set[bytes] = set()
        self.sent: dict[bytes, bytes] = {}
        self._time = time.time_ns() - 3600 * 10**9

    def send(self, batches: int = 1) -> None:
        """Send new batches."""
        for _ in range(batches):
            lines = [
                encode_point("sensor", "a1", "d", {"value": float(n), "on": n % 2 == 0}, self._time + n)
                for n in range(_LINES)
            ]
            self._time += _LINES
            batch = uuid4().hex.encode()
            self.sent[batch] = b"\n".join(lines)
            self._deliver(batch)

    async def resend(self) -> None:
        """Send again what is not acknowledged, as agents do, until cancelled."""
        while True:
            await asyncio.sleep(_RESEND_SECONDS)
            for batch in self.sent.keys() - self.acknowledged:
                self._deliver(batch)

    async def all_stored(self) -> None:
        await until(lambda: self.acknowledged == set(self.sent))

    async def told(self, code: str, status: str = "down") -> str:
        """Wait until the collector's own health row says so; return its evidence."""
        await until(
            lambda: (row := collector_health(self.ingest.problems()))["code"] == code and row["status"] == status
        )
        row = collector_health(self.ingest.problems())
        assert row["advice"]["en"]
        assert row["advice"]["zh"]
        return row["evidence"]

    async def well(self) -> None:
        await until(lambda: not self.ingest.problems())

    def _deliver(self, batch: bytes) -> None:
        topic = "village/1/agent/a1"
        self.ingest.on_message(
            Received(f"{topic}/telemetry", self.sent[batch], False, CONTENT_LINES, f"{topic}/ack", batch)
        )

    async def _take(self, messages: Sequence[Publication]) -> None:
        for message in messages:
            ack = decode_message(Ack, message.payload)
            assert not ack.refused
            self.acknowledged |= {batch.encode() for batch in ack.stored}


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def site(store: InfluxStore, control: ControlStore) -> AsyncIterator[Site]:
    made = Site(store, control)
    running = asyncio.create_task(made.ingest.run(), name="ingest")
    sending = asyncio.create_task(made.resend(), name="resend")
    try:
        yield made
        made.ingest.stop()
        await running
    finally:
        for task in (running, sending):
            task.cancel()
        await asyncio.wait([running, sending])
        await store.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 1.0)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    yield store
    store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as started:
        yield started


class Place:
    """A bucket of its own on the server, set up by our own set-up."""

    def __init__(self, url: str, folder: Path, bucket: str) -> None:
        self.wish = Wish(url, ORGANISATION, bucket, folder)

    async def set_up(self) -> None:
        await Setup(self.wish, Admin(TOKEN), dry=False, tell=lambda _: None).run()

    def token(self) -> str:
        return (self.wish.folder / "influx-token").read_text().strip()

    def store(self, url: str = "") -> InfluxStore:
        address = InfluxAddress(url or self.wish.url, ORGANISATION, self.wish.bucket, self.token())
        return InfluxStore(address, self.token)

    async def count(self) -> int:
        """The samples of one field that are stored, by InfluxDB's own word."""
        rest = Rest(self.wish.url, TOKEN, ORGANISATION)
        rows = await rest.query(
            f'from(bucket: "{self.wish.bucket}") |> range(start: -1d) |> filter(fn: (r) => r._field == "value") |> count()'
        )
        await rest.close()
        return sum(row["_value"] for row in rows)


@asynccontextmanager
async def place(url: str, folder: Path) -> AsyncIterator[Place]:
    made = Place(url, folder / "tokens", f"faults-{uuid4().hex[:8]}")
    await made.set_up()
    yield made


async def test_away_at_the_start(tmp_path: Path, control: ControlStore) -> None:
    port = free_port()
    with influx_server(tmp_path, port) as server:
        async with place(server.url, tmp_path) as it:
            pass
    async with site(it.store(), control) as collector:
        collector.send(20)
        assert "Connection refused" in await collector.told("store_away")
        assert not collector.acknowledged
        with influx_server(tmp_path, port):
            await collector.all_stored()
            await collector.well()
            assert await it.count() == 20 * _LINES


async def test_killed_under_load(tmp_path: Path, control: ControlStore) -> None:
    port = free_port()
    with influx_server(tmp_path, port) as server:
        async with place(server.url, tmp_path) as it:
            pass
    async with site(it.store(), control) as collector:
        for round_ in range(3):
            with influx_server(tmp_path, port) as server:
                before = len(collector.acknowledged)
                assert await it.count() >= before * _LINES, "what was acknowledged survived the kill"
                while len(collector.acknowledged) < before + 30:
                    collector.send(5)
                    await asyncio.sleep(0.02)
                server.process.kill()
                server.process.wait()
                collector.send(5)
                await collector.told("store_away")
            assert len(collector.acknowledged) < len(collector.sent), round_
        with influx_server(tmp_path, port):
            await collector.all_stored()
            assert await it.count() == len(collector.sent) * _LINES


async def test_slow(server: InfluxServer, tmp_path: Path, control: ControlStore) -> None:
    async with place(server.url, tmp_path) as it, fault_proxy(server.url) as proxy:
        async with site(it.store(proxy.url), control) as collector:
            proxy.delay = 5.0
            collector.send(10)
            assert "over 3 s a write" in await collector.told("store_slow", "degraded")
            proxy.delay = 0.0
            collector.send(10)
            await collector.all_stored()
            await collector.well()
        assert await it.count() == 20 * _LINES


@pytest.mark.parametrize(("status", "code"), [(429, "store_busy"), (503, "store_busy"), (500, "store_failed")])
async def test_overloaded(status: int, code: str, server: InfluxServer, tmp_path: Path, control: ControlStore) -> None:
    async with place(server.url, tmp_path) as it, fault_proxy(server.url) as proxy:
        async with site(it.store(proxy.url), control) as collector:
            collector.send(5)
            await collector.all_stored()
            proxy.answer = (status, {"Retry-After": "1"})
            collector.send(5)
            assert f"answers {status}" in await collector.told(code)
            asked, begin = proxy.refused, time.monotonic()
            await until(lambda: proxy.refused > asked)
            assert time.monotonic() - begin > 0.8, "the time that the server named is waited for"
            assert len(collector.acknowledged) == 5
            proxy.answer = None
            await collector.all_stored()
            await collector.well()
        assert await it.count() == 10 * _LINES


async def test_an_answer_that_gets_lost_stores_nothing_twice(
    server: InfluxServer, tmp_path: Path, control: ControlStore
) -> None:
    async with place(server.url, tmp_path) as it, fault_proxy(server.url) as proxy:
        async with site(it.store(proxy.url), control) as collector:
            proxy.swallow = True
            collector.send(5)
            await collector.told("store_away")
            proxy.swallow = False
            await collector.all_stored()
        assert await it.count() == 5 * _LINES


async def test_the_token_is_revoked_and_a_new_one_written(
    server: InfluxServer, tmp_path: Path, control: ControlStore
) -> None:
    async with place(server.url, tmp_path) as it, site(it.store(), control) as collector:
        collector.send(5)
        await collector.all_stored()
        for entry in server.ask("GET", "/api/v2/authorizations")["authorizations"]:
            if entry["token"] == it.token():
                server.ask("DELETE", f"/api/v2/authorizations/{entry['id']}")
        collector.send(5)
        assert "answers 401" in await collector.told("store_unauthorised")
        assert len(collector.acknowledged) == 5
        await it.set_up()
        await collector.all_stored()
        await collector.well()
        assert await it.count() == 10 * _LINES


async def test_the_bucket_is_deleted_and_made_again(
    server: InfluxServer, tmp_path: Path, control: ControlStore
) -> None:
    async with place(server.url, tmp_path) as it, site(it.store(), control) as collector:
        collector.send(5)
        await collector.all_stored()
        server.delete_bucket(it.wish.bucket)
        collector.send(5)
        assert "answers 404" in await collector.told("store_missing")
        assert len(collector.acknowledged) == 5
        await it.set_up()
        await collector.all_stored()
        await collector.well()
        assert await it.count() == 5 * _LINES, "what went with the bucket is gone, what came later is not"


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Mount a small file system at `folder`, or skip where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small file system can't be mounted here: run as root with CAP_SYS_ADMIN")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_full(tmp_path: Path, control: ControlStore) -> None:
    port, engine = free_port(), tmp_path / "small"
    filler = engine / "filler"
    with small_disk(engine, 16), influx_server(tmp_path, port, engine=engine) as server:
        async with place(server.url, tmp_path) as it:
            pass
        async with site(it.store(), control) as collector:
            collector.send(5)
            await collector.all_stored()
            _fill(filler)
            while not collector.ingest.problems():
                collector.send(20)
                await asyncio.sleep(0.1)
            assert "no space left" in await collector.told("store_full")
            filler.unlink()
            # InfluxDB may have given the shard up until it is started again, as the advice says.
            server.process.kill()
            server.process.wait()
            with influx_server(tmp_path, port, engine=engine):
                await collector.all_stored()
                await collector.well()
                assert await it.count() == len(collector.sent) * _LINES


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as target:
        try:
            while True:
                target.write(bytes(65536))
        except OSError:
            pass
