"""The uplink against a real broker: every batch arrives, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from tests.agent.collector import Collector, acknowledge, collector, lose, refuse
from tests.agent.kit import Site, running, site, until
from tests.peers.mosquitto import Mosquitto
from village_agent.outbox.file import FRESH_EVENTS
from village_agent.pace import Pace
from village_agent.uplink import WINDOW, Uplink
from village_wire.address import BrokerAddress, SessionSettings, Subscription
from village_wire.events import AgentStarted, ButtonPressed
from village_wire.incoming import Received
from village_wire.points import CONTENT_DEFLATED
from village_wire.presence import Ack
from village_wire.session import Session

PRESSED = ButtonPressed(action="single")


@pytest_asyncio.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with Mosquitto(tmp_path) as one:
        yield one


@asynccontextmanager
async def uplink(parts: Site, url: str, ack_seconds: float = 30.0, pace: Pace | None = None) -> AsyncIterator[Uplink]:
    """An agent's session and uplink, connected."""

    def on_message(message: Received) -> None:
        sender.on_ack(message.payload)

    session = Session(SessionSettings(BrokerAddress(url), "box"), [Subscription("village/1/agent/box/ack")], on_message)
    sender = Uplink("box", parts.outbox, session, ack_seconds, pace)

    async def connected() -> None:
        sender.connected()

    async with running(sender.run()), running(session.run(connected)):
        await until(lambda: session.connected)
        yield sender


def add_lines(parts: Site, numbers: range) -> None:
    for number in numbers:
        parts.outbox.add_line(f"register,agent=box,device=r value={number}.0 {number}".encode())


async def settled(parts: Site, far: Collector, lines: int = 0, events: int = 0) -> None:
    """Wait until all has arrived and the outbox is empty."""
    await until(lambda: parts.outbox.waiting == 0 and len(far.lines) >= lines and len(far.events) >= events, 20)
    assert len(far.lines) == len(set(far.lines)) == lines
    assert len(far.events) == events


async def test_what_is_acknowledged_leaves_the_outbox(tmp_path: Path, broker: Mosquitto) -> None:
    async with site(tmp_path) as parts, collector(broker.url) as far, uplink(parts, broker.url):
        add_lines(parts, range(1))
        parts.hub.post(None, PRESSED)
        await settled(parts, far, 1, 1)
        add_lines(parts, range(1, 500))
        await settled(parts, far, 500, 1)
        assert {message.content_type for message in far.received if "telemetry" in message.topic} == {CONTENT_DEFLATED}
        assert {message.response_topic for message in far.received} == {"village/1/agent/box/ack"}
        assert all(len(message.correlation) == 32 for message in far.received)


async def test_an_event_is_on_its_way_at_once(tmp_path: Path, broker: Mosquitto) -> None:
    async with site(tmp_path) as parts, collector(broker.url) as far, uplink(parts, broker.url):
        loop = asyncio.get_running_loop()
        for number in range(3):
            began = loop.time()
            parts.hub.post(None, PRESSED)
            await until(lambda wanted=number + 1: len(far.events) == wanted)  # type: ignore[misc]
            assert loop.time() - began < 0.5


async def test_a_batch_is_sent_again_with_the_same_id_until_its_ack_comes(tmp_path: Path, broker: Mosquitto) -> None:
    drops = {"telemetry": 2, "event": 2}

    def forgetful(message: Received) -> Ack | None:
        channel = message.topic.rpartition("/")[2]
        drops[channel] -= 1
        return None if drops[channel] >= 0 else acknowledge(message)

    async with site(tmp_path) as parts, collector(broker.url) as far, uplink(parts, broker.url, ack_seconds=0.1):
        far.answer = forgetful
        add_lines(parts, range(10))
        parts.hub.post(None, PRESSED)
        await settled(parts, far, 10, 1)
        assert len(far.received) == 6
        assert len({message.correlation for message in far.received}) == 2


async def test_a_refused_batch_is_dropped_and_counted(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(tmp_path) as parts, collector(broker.url) as far, uplink(parts, broker.url):
        far.answer = refuse
        add_lines(parts, range(10))
        await until(lambda: parts.outbox.lost == 10)
        assert parts.outbox.waiting == 0
        assert [(loss.reason, loss.count) for loss in await parts.outbox.losses()] == [("because", 10)]
    assert "because" in caplog.text


async def test_while_no_ack_comes_only_the_oldest_batch_is_sent(
    tmp_path: Path, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with site(tmp_path) as parts, collector(broker.url) as far:
        far.answer = lose
        async with uplink(parts, broker.url, ack_seconds=0.2):
            for _ in range(3 * WINDOW):
                await parts.outbox.add_events([])
                parts.hub.post(None, AgentStarted(session="0" * 32, version="x" * 40))
                await parts.outbox.add_events([])
                await asyncio.sleep(0.005)
            await until(lambda: "acknowledges no event" in caplog.text)
            before = len(far.received)
            assert before <= WINDOW + 3
            await until(lambda: len(far.received) >= before + 2)
            assert {message.correlation for message in far.received[before:]} <= {far.received[0].correlation}
            far.answer = acknowledge
            await settled(parts, far, 0, 3 * WINDOW)
            assert "acknowledges event again" in caplog.text


async def test_nothing_is_lost_when_broker_collector_and_agent_are_killed(tmp_path: Path, broker: Mosquitto) -> None:
    async with collector(broker.url) as far:
        far.answer = lose
        async with site(tmp_path) as parts, uplink(parts, broker.url, ack_seconds=0.5):
            add_lines(parts, range(100))
            parts.hub.post(None, PRESSED)
            await until(lambda: len(far.received) >= 2)
            await broker.kill()
            add_lines(parts, range(100, 200))
            parts.hub.post(None, PRESSED)
            await parts.outbox.add_events([])
            await broker.start()
            # Sent, but nobody says that it is stored.
            before = len(far.received)
            await until(lambda: len(far.received) >= before + 3, 20)
        sent = {message.correlation for message in far.received}
        far.answer = acknowledge
        async with site(tmp_path) as parts, uplink(parts, broker.url, ack_seconds=0.5):
            add_lines(parts, range(200, 250))
            await settled(parts, far, 250, 2)
        # Batches don't outlive a restart, what is in them does.
        assert not sent & {batch.encode() for batch in far.stored}


async def test_acks_that_are_none_or_unknown_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path) as parts:
        session = Session(SessionSettings(BrokerAddress("mqtt://127.0.0.1:1"), "box"), [], lambda _: None)
        sender = Uplink("box", parts.outbox, session)
        for payload in (b"", b"\xff", b'{"stored": 5}', b'{"stored":["%s"]}' % (b"0" * 32)) * 3:
            sender.on_ack(payload)
    assert len([record for record in caplog.records if "an ack that is none" in record.message]) == 1


async def test_fresh_events_pass_a_backlog_that_keeps_to_its_rate(tmp_path: Path, broker: Mosquitto) -> None:
    """An outage of 1,500 events drains at 100 kB/s; an event of now, and the newest of the outage, wait for none of it."""
    pace = Pace(drain_bytes_per_second=100_000, drain_spread_seconds=0)
    loop = asyncio.get_running_loop()
    async with site(tmp_path) as parts, collector(broker.url) as far:
        for number in range(1500):
            parts.hub.post(None, ButtonPressed(action=f"{number:04d}".ljust(80, "x")))
        await parts.outbox.add_events([])
        async with uplink(parts, broker.url, pace=pace):
            began = loop.time()
            await until(lambda: len(far.events) >= FRESH_EVENTS)
            first = sorted(event.data.action[:4] for event in far.events if isinstance(event.data, ButtonPressed))
            assert first[-FRESH_EVENTS:] == [f"{number:04d}" for number in range(1500 - FRESH_EVENTS, 1500)]
            assert parts.outbox.waiting > 600
            parts.hub.post(None, ButtonPressed(action="now"))
            await until(lambda: any(event.data == ButtonPressed(action="now") for event in far.events), 1)
            assert parts.outbox.waiting > 600
            await settled(parts, far, 0, 1501)
            size = sum(len(message.payload) for message in far.received)
            # One second's worth may be saved up, and the last batch is only paid for by the next one.
            assert size / 100_000 - 1 - 64 * 1024 / 100_000 < loop.time() - began < size / 100_000 + 3
            assert len(far.received) == len(far.stored)


async def test_a_backlog_begins_at_a_random_moment(tmp_path: Path, broker: Mosquitto) -> None:
    async with site(tmp_path) as parts, collector(broker.url) as far:
        # An hour old.
        parts.outbox.add_line(b"register,agent=box,device=r value=1.0 %d" % (time.time_ns() - 3600 * 10**9))
        await parts.outbox.add_events([])
        assert 3599 < parts.outbox.age_seconds < 3700
        async with uplink(parts, broker.url, pace=Pace(drain_spread_seconds=1.0)) as sender:
            # The draw is between nothing and a second; a reconnection draws anew.
            sender._bucket.hold(time.monotonic() + 0.5)
            parts.hub.post(None, PRESSED)
            await until(lambda: len(far.events) == 1)
            assert far.lines == []
            await settled(parts, far, 1, 1)


async def test_readings_travel_together(tmp_path: Path, broker: Mosquitto) -> None:
    pace = Pace(send_seconds=1.0)
    async with site(tmp_path) as parts, collector(broker.url) as far, uplink(parts, broker.url, pace=pace):
        add_lines(parts, range(1))
        await parts.outbox.add_events([])
        await until(lambda: len(far.lines) == 1)
        for number in range(1, 6):
            add_lines(parts, range(number, number + 1))
            await parts.outbox.add_events([])
        await settled(parts, far, 6)
        assert len(far.received) == 2


async def test_with_a_disk_that_takes_nothing_all_is_sent_from_memory(tmp_path: Path, broker: Mosquitto) -> None:
    (tmp_path / "outbox.db").mkdir()
    async with site(tmp_path) as parts, collector(broker.url) as far:
        await until(lambda: bool(parts.outbox.problem))
        async with uplink(parts, broker.url):
            add_lines(parts, range(10))
            parts.hub.post(None, PRESSED)
            await settled(parts, far, 10, 1)
            assert parts.outbox.problem
