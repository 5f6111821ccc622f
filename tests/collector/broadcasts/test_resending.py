"""Agents that were away are sent what they missed, once, before its end; what a crash left unsent is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import pytest

from tests.collector.kit import VILLAGE, Outbox, add_site, at, batch, entry, event, state
from village_collector.broadcasts.resending import ENDED_EARLY, Resender
from village_collector.broadcasts.service import BroadcastService
from village_collector.commands import NotSent
from village_collector.stores.control import ControlStore
from village_collector.stores.resend_records import MAX_ASKS
from village_wire.broadcasts import Audio, Stage
from village_wire.commands import Broadcast, Target, Withdraw
from village_wire.events import Receipt
from village_wire.presence import AgentStatus

SPEAKER = entry("speaker", "loudspeaker")
CONTENT = Broadcast(rank="notice", text="大家好", end=at(3600))


class Desk:
    """One collector's part in broadcasts."""

    def __init__(self, control: ControlStore) -> None:
        self.now: datetime = at(10)
        self.control = control
        self.outbox = Outbox()
        self.audio: dict[str, Audio] = {}
        self.service = BroadcastService(
            control, self.outbox.signer, self.outbox.publish, asyncio.Event, self._find, now=lambda: self.now
        )
        self.resender = Resender(control, self.service, lambda: self.now)

    async def _find(self, sha256: str) -> Audio | None:
        return self.audio.get(sha256)

    async def issue(self, *targets: Target, content: Broadcast = CONTENT) -> UUID:
        broadcast = self.service.new_id()
        await self.service.issue(broadcast, targets or (Target(area=VILLAGE),), content, "chief", _recorded)
        return broadcast

    async def look(self, now: float) -> Sequence[str]:
        """Look at that time; return the topics of what was sent."""
        self.now = at(now)
        before = len(self.outbox.sent)
        await self.resender.look()
        return [message.topic for message in self.outbox.sent[before:]]

    async def connect(self, agent: str, seconds: float, connection: int = 1, session: str = "c" * 32) -> None:
        """The agent is there from that time on, and knows the time."""
        here = AgentStatus(online=True, session=session, version="1", since=at(seconds), connection=connection)
        await asyncio.to_thread(self.control.store_status, agent, here, at(seconds))
        told = batch(agent, state(None, session=session, time=at(seconds)))
        await asyncio.to_thread(self.control.store_events, [told])

    async def tell(self, agent: str, broadcast: UUID, stage: Stage, seconds: float) -> None:
        told = event(Receipt(broadcast=broadcast, stage=stage), "speaker", time=at(seconds))
        await asyncio.to_thread(self.control.store_events, [batch(agent, told)])


async def _recorded() -> None:
    pass


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


@pytest.fixture
def desk(control: ControlStore) -> Desk:
    add_site(control, "gate-1", SPEAKER, online=False)
    add_site(control, "gate-2", SPEAKER)
    return Desk(control)


async def test_who_comes_back_is_sent_the_same_command_on_its_own_topic(desk: Desk) -> None:
    broadcast = await desk.issue()
    await desk.tell("gate-2", broadcast, "finished", 12)
    assert await desk.look(20) == []
    await desk.connect("gate-1", 300)
    assert await desk.look(303) == ["village/1/agent/gate-1/command"]
    first, again = desk.outbox.commands()
    assert first == again
    assert desk.outbox.sent[-1].expiry == 3600 - 303
    # Not each time somebody looks.
    assert await desk.look(306) == []
    await desk.tell("gate-1", broadcast, "queued", 307)
    await desk.connect("gate-1", 400, 2)
    assert await desk.look(403) == []


async def test_never_after_its_end(desk: Desk) -> None:
    await desk.issue()
    await desk.connect("gate-1", 3599)
    assert await desk.look(3600) == []


async def test_who_connects_and_says_nothing_is_asked_again_a_few_times_only(desk: Desk) -> None:
    await desk.issue(Target(agent="gate-1"))
    await desk.connect("gate-1", 20)
    asked = [second for second in range(21, 3600, 3) if await desk.look(second)]
    assert asked[:2] == [21, 84]
    assert len(asked) == 5


async def test_a_link_that_breaks_for_ever_is_not_fed_for_ever(desk: Desk) -> None:
    await desk.issue(Target(agent="gate-1"))
    asked = 0
    for number in range(1, MAX_ASKS + 20):
        await desk.connect("gate-1", 20 + number * 20, number)
        asked += len(await desk.look(21 + number * 20))
    assert asked == MAX_ASKS


async def test_one_of_several_collectors_does_it(desk: Desk) -> None:
    await desk.issue(Target(agent="gate-1"))
    await desk.connect("gate-1", 100)
    other = Desk(desk.control)
    due = await asyncio.to_thread(desk.control.due_agents, at(101), 10)
    assert await asyncio.to_thread(desk.control.claim_due, due, at(101)) == due
    assert await asyncio.to_thread(other.control.claim_due, due, at(101)) == []
    assert await other.look(102) == []


async def test_an_agent_without_the_time_is_left_to_find_it(desk: Desk) -> None:
    await desk.issue(Target(agent="gate-1"))
    here = AgentStatus(online=True, session="d" * 32, version="1", since=at(100), connection=1)
    await asyncio.to_thread(desk.control.store_status, "gate-1", here, at(100))
    assert await desk.look(103) == []
    assert await desk.look(161) == ["village/1/agent/gate-1/command"]


async def test_a_withdrawal_reaches_who_was_away(desk: Desk) -> None:
    broadcast = await desk.issue()
    await desk.tell("gate-2", broadcast, "cancelled", 12)
    record = await asyncio.to_thread(desk.control.broadcast, str(broadcast))
    assert record is not None
    desk.now = at(20)
    await desk.service.withdraw(record, "chief", "a mistake")
    await desk.connect("gate-1", 300)
    assert await desk.look(303) == ["village/1/agent/gate-1/command"]
    last = desk.outbox.commands()[-1]
    assert last.arguments == Withdraw(broadcast=broadcast, reason="a mistake")
    assert last.target == Target(agent="gate-1")
    assert not [command for command in desk.outbox.commands()[1:] if isinstance(command.arguments, Broadcast)]


async def test_a_withdrawal_that_no_broker_took_is_sent_by_itself(desk: Desk) -> None:
    broadcast = await desk.issue()
    record = await asyncio.to_thread(desk.control.broadcast, str(broadcast))
    assert record is not None
    desk.outbox.broken = "no broker"
    with pytest.raises(NotSent):
        await desk.service.withdraw(record, "chief", "")
    assert await desk.look(40) == []
    desk.outbox.broken = ""
    assert await desk.look(43) == [f"village/1/area/{VILLAGE}/command"]
    assert await desk.look(46) == []


async def test_what_a_crash_left_unsent_is_told_and_not_sent(desk: Desk) -> None:
    broadcast = desk.service.new_id()

    async def killed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await desk.service.issue(broadcast, [Target(area=VILLAGE)], CONTENT, "chief", killed)
    record = await asyncio.to_thread(desk.control.broadcast, str(broadcast))
    assert record is not None
    assert record.sent is None
    await desk.connect("gate-1", 300)
    assert await desk.look(303) == []
    record = await asyncio.to_thread(desk.control.broadcast, str(broadcast))
    assert record is not None
    assert (record.sent, record.problem, record.targets[0].sent) == (False, ENDED_EARLY, False)


async def test_a_sound_file_goes_with_its_token_and_only_while_it_is_there(desk: Desk) -> None:
    audio = Audio(sha256="a" * 64, bytes=1000, seconds=3.5, token="geheim")
    content = Broadcast(rank="routine", audio=audio, end=at(3600))
    broadcast = await desk.issue(Target(agent="gate-1"), content=content)
    record = await asyncio.to_thread(desk.control.broadcast, str(broadcast))
    assert record is not None
    assert "geheim" not in repr(record)
    assert await asyncio.to_thread(desk.control.audio_in_use, at(100)) == {"a" * 64}
    await desk.connect("gate-1", 300)
    assert await desk.look(303) == []
    desk.audio["a" * 64] = audio
    await desk.connect("gate-1", 400, 2)
    assert await desk.look(403) == ["village/1/agent/gate-1/command"]
    assert desk.outbox.commands()[-1].arguments == content


def test_old_broadcasts_are_forgotten(desk: Desk) -> None:
    async def issue() -> UUID:
        return await desk.issue()

    broadcast = asyncio.run(issue())
    assert desk.control.purge_events(at(3500)) == 0
    assert desk.control.broadcast(str(broadcast)) is not None
    desk.control.purge_events(at(3700))
    assert desk.control.broadcast(str(broadcast)) is None
    assert desk.control.broadcast_receipts(str(broadcast)) == ([], [])


async def test_who_comes_back_is_sent_what_was_for_its_tags_and_its_withdrawal(
    desk: Desk, control: ControlStore
) -> None:
    school = (entry("speaker", "loudspeaker", tags=("school",)), entry("horn", "loudspeaker"))
    for agent in ("gate-3", "gate-4"):
        await asyncio.to_thread(add_site, control, agent, *school, online=False)
    schools, rest = Target(area=VILLAGE, tags=("school",)), Target(agent="gate-3")
    broadcast = await desk.issue(schools, rest)
    await desk.connect("gate-3", 300)
    # gate-1 is away, and gate-2 has no such loudspeaker.
    assert await desk.look(303) == ["village/1/agent/gate-3/command"] * 2
    sent = desk.outbox.commands()
    assert sent[:2] == sent[2:]
    assert [command.target for command in sent[2:]] == [schools, Target(agent="gate-3", without=("school",))]
    record = await asyncio.to_thread(control.broadcast, str(broadcast))
    assert record is not None
    await desk.service.withdraw(record, "chief", "")
    await desk.connect("gate-4", 400)
    # gate-3 has answered nothing, either.
    assert await desk.look(403) == [*["village/1/agent/gate-3/command"] * 2, "village/1/agent/gate-4/command"]
    last = desk.outbox.commands()[-1]
    assert (last.target, last.arguments) == (Target(agent="gate-4", tags=("school",)), Withdraw(broadcast=broadcast))
