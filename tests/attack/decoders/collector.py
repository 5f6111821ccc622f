"""Readers of the collector: what agents send, line by line and as whole messages into real stores, and what InfluxDB answers."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import io
import json
import logging
import shutil
import tempfile
import threading
import warnings
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import web

from tests.attack.decoders.drivers import folder
from tests.attack.decoders.kit import Decoder, join, records
from tests.attack.decoders.wire import golden
from tests.collector.kit import Outbox
from village_collector import ingest as ingest_module
from village_collector.api.common import answer
from village_collector.config import load_settings
from village_collector.ingest import Ingest
from village_collector.lines import InvalidLine, parse_line
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter
from village_collector.stores.influx.guard import Guard, sift_each
from village_collector.stores.influx.inspection import inspect
from village_collector.stores.influx.rest import InfluxAddress
from village_collector.stores.influx.store import InfluxStore
from village_collector.stores.sqlite import SqliteStore
from village_wire.ids import uuid7
from village_wire.incoming import Received
from village_wire.points import CONTENT_DEFLATED, CONTENT_LINES, deflate
from village_wire.presence import Ack, decode_message
from village_wire.settings import InvalidSettings

SAMPLES = Path(__file__).parents[3] / "deploy/samples"
_NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def _line(data: bytes) -> object:
    return parse_line(data)


def _influx_guard(data: bytes) -> object:
    now = int(_NOW.timestamp()) * 10**9
    good, bad = Guard().sift(data, now)
    # What passes in bulk is what passes one by one, but for numbers, which are the server's to judge.
    each, _ = sift_each(data.split(b"\n"), now)
    if not bad and good == data and good != each:
        for line in data.split(b"\n"):
            with contextlib.suppress(InvalidLine):
                parse_line(line)
    return good, bad


class _World:
    """Real stores that live through many inputs, so that one which poisons them shows in the next."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="village-fuzz-", dir="/dev/shm"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.control = ControlStore(f"sqlite:///{self.folder / 'control.db'}")
        self.control.open()
        atexit.register(self.control.close)
        self.left = 300

    async def feed(self, messages: list[Received], faults: list[BaseException]) -> tuple[set[str], set[str]]:
        """Take messages in; return which batches were stored, and the topics of all answers, once the last two were stored."""
        telemetry, outbox = SqliteStore(self.folder / "telemetry.db"), Outbox()
        ingest = Ingest(telemetry, self.control, outbox.send, now=lambda: _NOW)
        for message in messages:
            ingest.on_message(message)
        wanted = {message.correlation.decode() for message in messages[-2:]}
        stored: set[str] = set()
        try:
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                group.create_task(ingest.run(), name="ingest")
                while not faults and not (wanted <= stored and not len(ingest._presence)):
                    await asyncio.sleep(0.001)
                    acks = [decode_message(Ack, one.payload) for one in outbox.sent]
                    stored = {batch for ack in acks for batch in ack.stored}
                ingest.stop()
        finally:
            await telemetry.close()
        return stored - wanted, {one.topic for one in outbox.sent}


@cache
def _worlds() -> list[_World]:
    return [_World()]


def _world() -> _World:
    worlds = _worlds()
    worlds[0].left -= 1
    if worlds[0].left <= 0:
        worlds[0].control.close()
        shutil.rmtree(worlds[0].folder, ignore_errors=True)
        worlds[0] = _World()
    return worlds[0]


class _Faults(logging.Handler):
    """Notes the exceptions that the ingest's outermost edge swallows."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.found.append(record.exc_info[1])


@contextlib.contextmanager
def _watched_log() -> Iterator[list[BaseException]]:
    handler, log = _Faults(), logging.getLogger("village_collector.ingest")
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield handler.found
    finally:
        log.removeHandler(handler)
        log.propagate = before


_NEIGHBOUR = "village/1/agent/neighbour"


def _neighbours(number: int) -> list[Received]:
    """What an honest agent sends at the same time: it must be stored whatever stands beside it."""
    identity = str(uuid7(1_795_482_123_456 + number))
    event = {
        "id": identity,
        "time": "2026-11-24T01:02:03Z",
        "data": {"kind": "alarm", "code": "tamper", "active": True},
    }
    line = f"sensor,agent=neighbour,device=d value=1.0 {1_795_482_123_456_789_000 + number}"
    return [
        Received(
            f"{_NEIGHBOUR}/event", json.dumps({"events": [event]}).encode(), False, "", f"{_NEIGHBOUR}/ack", b"e" * 32
        ),
        Received(f"{_NEIGHBOUR}/telemetry", line.encode(), False, CONTENT_LINES, f"{_NEIGHBOUR}/ack", b"a" * 32),
    ]


def _ingest(data: bytes) -> object:
    world = _world()
    rows = [row for row in records(data, 4)[:40] if row[0] != _NEIGHBOUR.encode()]
    hostile = [
        Received(
            topic.decode(errors="replace"),
            payload,
            False,
            content.decode(errors="replace"),
            f"{topic.decode(errors='replace').rpartition('/')[0]}/ack",
            batch,
        )
        for topic, content, batch, payload in rows
    ]
    with _watched_log() as faults, patch.multiple(ingest_module, GATHER_SECONDS=0.0, GATHER_EVENTS_SECONDS=0.0):
        stored, topics = asyncio.run(world.feed([*hostile, *_neighbours(world.left)], faults))
    if faults:
        raise faults[0]
    assert all(topic.endswith("/ack") for topic in topics)
    control = world.control
    page = control.events(EventFilter(), 100)
    answer("events", {"events": [event._asdict() for event in page.events], "cursor": page.cursor})
    letters = control.dead_letters(50)
    answer("letters", {"letters": [(one.reason, one.topic, one.content.decode(errors="replace")) for one in letters]})
    answer("agents", {"agents": [agent._asdict() for agent in control.agent_summaries(None)]})
    return sorted(stored), sorted(topics)


@dataclass
class _Influx:
    """A server that answers every request with the same status, `Retry-After` and body. Lives in a thread of its own."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    status: int = 200
    wait: str = ""
    body: bytes = b""
    url: str = ""

    def __post_init__(self) -> None:
        threading.Thread(target=self.loop.run_forever, daemon=True, name="hostile influx").start()
        self.url = self.run(self._start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the thread and return its answer."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def _start(self) -> str:
        async def handle(request: web.BaseRequest) -> web.Response:
            await request.read()
            headers = {"Retry-After": self.wait} if self.wait else {}
            return web.Response(status=self.status, headers=headers, body=self.body, content_type="application/json")

        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"


@cache
def _influx_server() -> _Influx:
    return _Influx()


def _influx(data: bytes) -> object:
    """One record: status, `Retry-After`, body of every answer."""
    status, wait, body = records(data, 3)[0]
    server = _influx_server()
    server.status = (
        int(status) if status.isdigit() and 200 <= int(status) < 600 and status not in {b"204", b"304"} else 200
    )
    server.wait = "".join(sign for sign in wait.decode(errors="replace") if sign.isprintable())[:100]
    server.body = body

    async def ask() -> list[str]:
        address = InfluxAddress(server.url, "village", "telemetry", "token", "telemetry-5m")
        store, said = InfluxStore(address, lambda: "token"), []
        asked = (
            store.open,
            lambda: store.write(golden("telemetry.lines")[0]),
            lambda: store.fields("lin-1", "gate"),
            lambda: store.latest("sensor", "gate"),
            lambda: store.history("lin-1", "gate", "sensor", "value", _NOW - timedelta(days=20), _NOW, 100),
            lambda: inspect(address),
        )
        try:
            for one in asked:
                try:
                    said.append(type(await one()).__name__)
                except StoreUnavailable as error:
                    said.append(f"{error.code} {error.retry_after}")
        finally:
            await store.close()
        return said

    # The client's parser prints and warns on the way.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return server.run(ask())


def _config(data: bytes) -> object:
    with folder() as place:
        file = place / "collector.toml"
        file.write_bytes(data)
        return load_settings(file, place).telemetry


_AGENT = b"village/1/agent/lin-1/"
_MESSAGES = (
    *((_AGENT + b"event", b"application/json", b"1" * 32, payload) for payload in golden("event-*.json")),
    (_AGENT + b"telemetry", CONTENT_LINES.encode(), b"2" * 32, golden("telemetry.lines")[0]),
    (_AGENT + b"telemetry", CONTENT_DEFLATED.encode(), b"3" * 32, deflate(golden("telemetry.lines")[0])),
    (_AGENT + b"status", b"", b"", golden("status.json")[0]),
    (_AGENT + b"inventory", b"", b"", golden("inventory.json")[0]),
)
_BUCKETS = b'{"buckets":[{"id":"1","name":"telemetry","retentionRules":[{"type":"expire","everySeconds":864000}]}]}'
_TABLE = (
    b"#datatype,string,long,dateTime:RFC3339,double,string,string,string,string\r\n#group,false,false,false,false,true,true,true,true\r\n"
    b"#default,_result,,,,,,,\r\n,result,table,_time,_value,_field,_measurement,agent,device\r\n"
    b",,0,2026-11-24T01:02:03Z,1.5,value,sensor,lin-1,gate\r\n"
)

DECODERS = (
    Decoder("line", _line, (InvalidLine,), tuple(golden("telemetry.lines")[0].split(b"\n"))),
    Decoder("influx_guard", _influx_guard, (), (golden("telemetry.lines")[0],)),
    Decoder(
        "ingest",
        _ingest,
        (),
        (*(join(message) for message in _MESSAGES), join(*_MESSAGES)),
        "records",
        64 * 1024,
        5.0,
        96 << 20,
        True,
    ),
    Decoder(
        "influx",
        _influx,
        (),
        (
            join((b"200", b"", _BUCKETS)),
            join((b"503", b"30", b'{"code":"unavailable","message":"busy"}')),
            join((b"422", b"", b'{"code":"unprocessable entity","message":"partial write: dropped=3"}')),
            join((b"200", b"", _TABLE)),
        ),
        "records",
        seconds=5.0,
        memory=64 << 20,
        slow=True,
    ),
    Decoder(
        "collector_config",
        _config,
        (InvalidSettings,),
        tuple(file.read_bytes() for file in (SAMPLES / "collector.toml", SAMPLES / "collector-several.toml")),
        "text",
        seconds=5.0,
    ),
)
