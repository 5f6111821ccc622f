"""The agent asks for the time and believes only a signed answer to its own question."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.collector import KEY, collector
from tests.agent.fake_time import in_fake_time
from tests.agent.kit import running, until
from tests.peers.mosquitto import Mosquitto
from village_agent.clock import timekeeper as module
from village_agent.clock.clock import SECOND_NS, to_ns
from village_agent.clock.system import boot_id, boot_ns, synchronised_ns
from village_agent.clock.timekeeper import Timekeeper
from village_agent.identity.keyring import PinnedKey
from village_wire.address import BrokerAddress, SessionError, SessionSettings, Subscription
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.session import Session
from village_wire.time_answer import TimeAnswer, read_time_request, sign_time_answer

TRUE = datetime(2030, 1, 1, tzinfo=UTC)


class Box:
    """A timekeeper whose requests the test sees and whose time since boot it sets."""

    def __init__(self, system: int | None = None, *, trust_system: bool = True) -> None:
        self.boot = 100 * SECOND_NS
        self.system = system
        self.nonces: list[str] = []
        self.changes = 0
        self.broken = False
        self.keeper = Timekeeper(
            "box",
            PinnedKey(KEY.public_key()),
            self._publish,
            trust_system=trust_system,
            system=lambda: self.system,
            boot=lambda: self.boot,
        )
        self.keeper.on_change = self._changed

    async def _publish(self, message: Publication) -> None:
        if self.broken:
            raise SessionError("not connected to the broker")
        assert (message.topic, message.retain, message.expiry) == ("village/1/agent/box/time", False, 10)
        self.nonces.append(read_time_request(message.payload).nonce)

    def _changed(self) -> None:
        self.changes += 1

    def answer(self, time: datetime, *, nonce: str = "", agent: str = "box", key: Ed25519PrivateKey = KEY) -> None:
        answer = TimeAnswer(agent=agent, nonce=nonce or self.nonces[-1], time=time)
        self.keeper.on_answer(sign_time_answer(answer, key))

    async def asked(self, count: int) -> None:
        await until(lambda: len(self.nonces) >= count)


@asynccontextmanager
async def box(system: int | None = None, *, trust_system: bool = True) -> AsyncIterator[Box]:
    made = Box(system, trust_system=trust_system)
    async with running(made.keeper.run()):
        yield made


async def test_nothing_is_asked_without_a_connection_and_the_answer_makes_the_time_known() -> None:
    async with box() as one:
        await asyncio.sleep(0)
        assert one.nonces == []
        one.keeper.connected()
        await one.asked(1)
        assert not one.keeper.known.is_set()
        assert one.keeper.dated(one.keeper.now()) is None
        started = one.keeper.now()
        one.boot += SECOND_NS
        one.answer(TRUE)
        assert one.keeper.known.is_set()
        assert one.keeper.signed
        assert one.changes == 1
        assert one.keeper.now() == TRUE + timedelta(seconds=0.5)
        assert one.keeper.dated(started) == TRUE - timedelta(seconds=0.5)


async def test_forged_replayed_foreign_and_late_answers_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with box() as one:
        one.keeper.connected()
        await one.asked(1)
        one.answer(TRUE, key=Ed25519PrivateKey.generate())
        one.answer(TRUE, nonce="0" * 32)
        one.answer(TRUE, agent="other")
        one.keeper.on_answer(b"\xff")
        one.boot += 11 * SECOND_NS
        one.answer(TRUE)
        assert not one.keeper.known.is_set()
        one.keeper.connected()
        await until(lambda: len(one.nonces) == 2, 15)
        one.answer(TRUE)
        assert one.keeper.known.is_set()
        # The same once more: a nonce counts once.
        one.answer(TRUE + timedelta(days=1))
        assert one.keeper.now() == TRUE
    assert len([record for record in caplog.records if "is ignored" in record.message]) == 1


async def test_it_asks_again_on_each_connection_and_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.05)
    async with box() as one:
        one.keeper.connected()
        for count in range(1, 4):
            await one.asked(count)
            one.answer(TRUE)
        assert len(set(one.nonces)) == len(one.nonces)
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 3600.0)
    async with box() as one:
        for count in range(1, 4):
            one.keeper.connected()
            await one.asked(count)
            one.answer(TRUE)


async def test_a_lost_answer_or_connection_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(module, "_RETRY_BASE", 0.01)
    async with box() as one:
        one.keeper.connected()
        await one.asked(3)
        one.broken = True
        seen = len(one.nonces)
        monkeypatch.setattr(module, "_RETRY_BASE", 60.0)
        await asyncio.sleep(0.1)
        one.broken = False
        one.keeper.connected()
        await one.asked(seen + 1)


async def test_a_sharper_time_is_what_some_answers_have_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHARP_LEAST_SECONDS", 0.01)
    async with box() as one:
        one.keeper.connected()
        for count, way_ms in enumerate((100, 60, 20, 40, 30), 1):
            if count > 1:
                one.boot += 2 * SECOND_NS
                one.keeper.sharpen(0.03)
                # As another loudspeaker of the box does.
                one.keeper.sharpen(0.04)
            await one.asked(count)
            one.boot += way_ms * SECOND_NS // 1000
            # All answers have the same way back.
            one.answer(TRUE + timedelta(microseconds=one.boot // 1000 - 10_000))
        error = one.keeper.clock.error_ns(one.boot)
        assert error is not None
        # 10 ms of its way, and what the clock is behind until it has caught up.
        assert SECOND_NS // 100 <= error < SECOND_NS // 20
        one.boot += SECOND_NS
        assert abs(one.keeper.now() - TRUE - timedelta(microseconds=one.boot // 1000)) < timedelta(milliseconds=1)


async def test_a_time_that_is_sharp_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHARP_LEAST_SECONDS", 0.01)
    async with box() as one:
        one.keeper.connected()
        await one.asked(1)
        one.boot += module.SHARP_ERROR_NS
        one.answer(TRUE)
        one.keeper.sharpen(0.1)
        await asyncio.sleep(0.2)
        assert len(one.nonces) == 1


def test_a_county_that_begins_at_once_asks_at_random_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)

    async def work() -> None:
        async with box(trust_system=False) as one:
            loop = asyncio.get_running_loop()
            one.keeper.connected()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            one.boot += SECOND_NS // 10
            one.answer(TRUE)
            begun = loop.time()
            one.keeper.sharpen(120)
            await asyncio.sleep(0.5)
            # Another loudspeaker of the box begins then too.
            one.keeper.sharpen(120)
            for count, at in enumerate((90, 95, 100, 105, 110), 1):
                await asyncio.sleep(begun + at - 0.1 - loop.time())
                assert len(one.nonces) == count
                await asyncio.sleep(0.2)
                assert len(one.nonces) == count + 1
                one.boot += SECOND_NS // 10
                one.answer(TRUE)
            await asyncio.sleep(100)
            assert len(one.nonces) == 6

    in_fake_time(work())


async def test_the_system_is_believed_until_the_collector_speaks() -> None:
    async with box(to_ns(TRUE)) as one:
        await until(one.keeper.known.is_set)
        assert (one.keeper.signed, one.keeper.now()) == (False, TRUE)
        one.keeper.connected()
        await one.asked(1)
        one.answer(TRUE - timedelta(days=365))
        assert (one.keeper.signed, one.keeper.now()) == (True, TRUE - timedelta(days=365))


async def test_over_a_real_broker_the_time_is_good_within_the_round_trip(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far:
        far.time = lambda: datetime.now(UTC) + timedelta(days=365)
        keeper: Timekeeper

        async def publish(message: Publication) -> None:
            await session.publish(message)

        async def connected() -> None:
            keeper.connected()

        def receive(message: Received) -> None:
            keeper.on_answer(message.payload)

        keeper = Timekeeper("box", PinnedKey(KEY.public_key()), publish, trust_system=False)
        session = Session(
            SessionSettings(BrokerAddress(broker.url), "box"),
            [Subscription("village/1/agent/box/clock", retained=False)],
            receive,
        )
        async with running(keeper.run()), running(session.run(connected)):
            await until(keeper.known.is_set)
            off = keeper.now() - datetime.now(UTC) - timedelta(days=365)
            error = keeper.clock.error_ns(boot_ns())
            assert error is not None
            assert abs(off.total_seconds()) * SECOND_NS <= error + SECOND_NS // 100
            assert error < SECOND_NS


def test_the_system_tells_its_boot() -> None:
    assert len(boot_id()) >= 32
    assert boot_id() == boot_id()
    first = boot_ns()
    assert first <= boot_ns()
    found = synchronised_ns()
    assert found is None or found > 0
