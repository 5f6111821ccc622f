"""A running collector follows its keys, and its agents learn of it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.kit import running, until
from tests.collector.kit import SESSION, T0, Outbox, status
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.trust.authority import load_authority
from village_collector.trust.command_keys import GRACE, rotate
from village_collector.trust.live_keys import KeysToAgents, LiveKeys
from village_wire.command_keys import read_command_keys
from village_wire.signed import encode_public_key

DAY = timedelta(days=1)


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now


class Collector:
    """Keys of a collector in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = load_authority(folder, make=True)
        self.clock = Clock()
        self.keys = LiveKeys(folder, None, self.authority, self.clock)
        self.keys.load()
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    @property
    def signs(self) -> str:
        return encode_public_key(self.keys.signer().public_key())

    @property
    def number(self) -> int:
        return self.keys.document()[0]


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


async def test_a_rotation_by_the_command_is_noticed_and_carried_to_its_end(collector: Collector) -> None:
    old = collector.signs
    async with running(collector.keys.run(collector.changed, look_seconds=0.01)):
        await asyncio.to_thread(rotate, collector.folder, collector.authority, T0, 7 * DAY)
        await until(lambda: collector.changes == 1)
        assert (collector.signs, collector.number) == (old, 2)
        collector.clock.now = T0 + 7 * DAY
        new = collector.signs
        assert new != old
        collector.clock.now += GRACE
        await until(lambda: collector.number == 3)
        await until(lambda: collector.changes == 2)
    assert collector.signs == new
    assert (collector.folder / "command_key.pub").read_text().strip() == new
    assert not (collector.folder / "command_key.next").exists()


async def test_keys_that_cannot_be_used_change_nothing_and_are_told_once(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    old = collector.signs
    path = collector.folder / "command_keys.json"
    good = path.read_bytes()
    async with running(collector.keys.run(collector.changed, look_seconds=0.01)):
        await asyncio.to_thread(path.write_bytes, b"{}")
        await until(lambda: any(record.levelno == logging.ERROR for record in caplog.records))
        await asyncio.sleep(0.1)
        assert (collector.signs, collector.number, collector.changes) == (old, 1, 0)
        assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
        await asyncio.to_thread(path.write_bytes, good)
        await asyncio.to_thread(rotate, collector.folder, collector.authority, T0, DAY)
        await until(lambda: collector.number == 2)


class Teller:
    """Tells agents of what `number` says."""

    def __init__(self, control: ControlStore) -> None:
        self.number = 1
        self.broker = Outbox()
        self.control = control
        self.telling = KeysToAgents(self.document, control, self.broker.publish)

    def document(self) -> tuple[int, bytes]:
        return self.number, b"%d" % self.number

    def told(self) -> list[tuple[str, bytes]]:
        return [(message.topic, message.payload) for message in self.broker.sent]


@pytest.fixture
def teller(sqlite_control: ControlStore) -> Teller:
    for agent in ("gate-1", "gate-2"):
        sqlite_control.store_status(agent, status(True), T0)
    sqlite_control.store_status("away", status(False, SESSION), T0)
    return Teller(sqlite_control)


def topics(number: int) -> list[tuple[str, bytes]]:
    return [(f"village/1/agent/{agent}/keys", b"%d" % number) for agent in ("gate-1", "gate-2")]


async def test_connected_agents_are_told_of_a_change_once(teller: Teller) -> None:
    async with running(teller.telling.run()):
        await asyncio.sleep(0.05)
        assert teller.told() == [], "they know the first document"
        teller.number = 2
        teller.telling.changed()
        await until(lambda: len(teller.told()) == 2)
        assert teller.told() == topics(2)
        assert all((message.qos, message.retain) == (1, False) for message in teller.broker.sent)
        async with asyncio.timeout(5):
            while await asyncio.to_thread(teller.control.keys_told) != 2:
                await asyncio.sleep(0.01)
        teller.telling.changed()
    # The next start, or another collector on the same database, tells nothing again.
    again = Teller(teller.control)
    again.number = 2
    async with running(again.telling.run()):
        await asyncio.sleep(0.1)
    assert again.told() == []


async def test_a_change_while_nobody_ran_is_told_at_the_start(teller: Teller) -> None:
    teller.number = 5
    async with running(teller.telling.run()):
        await until(lambda: teller.told() == topics(5))


async def test_a_lost_broker_is_waited_for_and_nobody_is_told_twice(teller: Teller) -> None:
    teller.number = 2
    teller.broker.broken = "gone"
    async with running(teller.telling.run(again_seconds=0.01)):
        await asyncio.sleep(0.05)
        assert teller.told() == []
        teller.broker.broken = ""
        await until(lambda: len(teller.told()) >= 2)
        await asyncio.sleep(0.05)
        assert teller.told() == topics(2)


async def test_a_store_that_is_away_is_waited_for(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise StoreUnavailable("gone")

    teller.number = 2
    with monkeypatch.context() as patch:
        patch.setattr(teller.control, "keys_told", broken)
        async with running(teller.telling.run(again_seconds=0.01)):
            await asyncio.sleep(0.05)
            assert teller.told() == []
            patch.undo()
            await until(lambda: teller.told() == topics(2))


async def test_the_document_is_what_agents_verify(collector: Collector) -> None:
    number, payload = collector.keys.document()
    read = read_command_keys(payload, collector.authority.key.public_key())
    assert (read.number, [key.key for key in read.keys]) == (number, [collector.signs])
