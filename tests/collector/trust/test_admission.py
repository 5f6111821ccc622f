"""Messages of agents that were declared lost are dropped, soon after and at no cost to the others."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.kit import running, until
from tests.collector.kit import T0, VILLAGE
from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore
from village_collector.trust.admission import Admission
from village_collector.trust.authority import Issued
from village_wire.topics import AGENT_CHANNELS


class Records:
    """A store whose answers are set by hand."""

    def __init__(self) -> None:
        self.revision = 0
        self.revoked: frozenset[str] = frozenset()
        self.reads = 0
        self.broken = False

    def trust_revision(self) -> int:
        if self.broken:
            raise StoreUnavailable("gone")
        return self.revision

    def revoked_agents(self) -> frozenset[str]:
        self.reads += 1
        return self.revoked

    def revoke(self, *agents: str) -> None:
        self.revoked |= set(agents)
        self.revision += 1


async def test_every_channel_of_a_revoked_agent_is_closed_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    records = Records()
    admission = Admission(records)
    await admission.load()
    topics = [f"village/1/agent/{agent}/{channel}" for agent in ("gate-1", "gate-10") for channel in AGENT_CHANNELS]
    assert all(admission.admits(topic) for topic in topics)
    records.revoke("gate-1")
    await admission.load()
    assert {topic for topic in topics if not admission.admits(topic)} == {t for t in topics if "/gate-1/" in t}
    assert len(caplog.records) == 1


async def test_a_revocation_is_noticed_while_running_and_read_only_then() -> None:
    records = Records()
    admission = Admission(records)
    await admission.load()
    async with running(admission.run(look_seconds=0.01)):
        await asyncio.sleep(0.05)
        assert records.reads == 1
        records.revoke("gate-1")
        await until(lambda: not admission.admits("village/1/agent/gate-1/event"))
        records.broken = True
        await asyncio.sleep(0.05)
        assert not admission.admits("village/1/agent/gate-1/event")


async def test_who_changes_something_here_need_not_wait() -> None:
    records = Records()
    admission = Admission(records)
    records.revoke("gate-1")
    await admission.refresh()
    assert not admission.admits("village/1/agent/gate-1/event")
    records.broken = True
    await admission.refresh()


async def test_the_control_store_is_what_is_followed(sqlite_control: ControlStore) -> None:
    def enrol(digest: str) -> None:
        sqlite_control.add_enrolment(digest, "gate-1", VILLAGE, "li", T0, T0.replace(year=2027))
        issued = Issued("gate-1", "", None, digest[:8], digest, T0, T0.replace(year=2028))
        sqlite_control.use_enrolment(digest, digest, T0, lambda _: issued)

    admission = Admission(sqlite_control)
    await admission.load()
    await asyncio.to_thread(enrol, "a" * 64)
    await asyncio.to_thread(sqlite_control.revoke, "gate-1", T0)
    assert await admission.load()
    assert not admission.admits("village/1/agent/gate-1/telemetry")
    await asyncio.to_thread(enrol, "b" * 64)
    assert await admission.load()
    assert admission.admits("village/1/agent/gate-1/telemetry")
    assert not await admission.load()


@given(st.text(max_size=80))
def test_any_topic_has_an_answer(topic: str) -> None:
    records = Records()
    records.revoke("gate-1")
    admission = Admission(records)
    asyncio.run(admission.load())
    assert admission.admits(topic)


async def test_it_costs_a_message_less_than_a_microsecond_or_two() -> None:
    """A batch of lines is one message, so a line costs a hundredth of that."""
    records = Records()
    records.revoke(*(f"lost-{number}" for number in range(1000)))
    admission = Admission(records)
    await admission.load()
    topics = [f"village/1/agent/gate-{number}/telemetry" for number in range(1000)]
    all(admission.admits(topic) for topic in topics)
    start = time.perf_counter()
    for _ in range(20):
        for topic in topics:
            admission.admits(topic)
    assert (time.perf_counter() - start) / 20_000 < 20e-6
