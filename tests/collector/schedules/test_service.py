"""Who is sent which schedule, when, and what a broken broker changes about that."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from tests.agent.kit import running, until
from tests.collector.kit import OTHER, T0, VILLAGE, Outbox, add_site
from village_collector.schedules.service import ScheduleService
from village_collector.stores.control import ControlStore
from village_wire.commands import Target
from village_wire.recurrence import Recurrence
from village_wire.schedules import (
    Held,
    Item,
    Programme,
    Schedule,
    content_digest,
    digest_of,
    read_schedule,
    sign_schedule,
    target_text,
)

AREA = Target(area=VILLAGE)
NOTHING = digest_of([])


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    for name, area in (("lin", VILLAGE), ("shan", f"{VILLAGE}-g01"), ("far", OTHER)):
        add_site(each_control, name, area=area)
    return each_control


def programme(identity: str = "morning", text: str = "早上好") -> Programme:
    when = Recurrence(start=datetime(2026, 11, 24, 6, 30), rule="FREQ=DAILY")
    return Programme(id=identity, title="早间", when=when, items=(Item(text=text),))


def made(control: ControlStore, broker: Outbox) -> ScheduleService:
    return ScheduleService(control, broker.signer, broker.publish, lambda: T0)


def sent(broker: Outbox) -> list[tuple[str, Schedule]]:
    return [
        (message.topic.split("/")[3], read_schedule(message.payload, broker.key.public_key()))
        for message in broker.sent
        if message.topic.endswith("/schedule") and message.qos == 1 and not message.retain
    ]


def digest(*held: tuple[str, Schedule]) -> str:
    """What an agent with these would say."""
    return digest_of(_held(schedule) for _, schedule in held)


def _held(schedule: Schedule) -> Held:
    return Held(target_text(schedule.target), schedule.number, content_digest(sign_schedule(schedule, Outbox().key)))


async def test_a_change_reaches_those_whom_it_concerns(control: ControlStore) -> None:
    broker = Outbox()
    service = made(control, broker)
    async with running(service.run(0.01)):
        await service.change(AREA, lambda _: [programme()], "wang")
        await until(lambda: len(broker.sent) == 2)
    assert [(agent, [one.id for one in schedule.programmes]) for agent, schedule in sent(broker)] == [
        ("lin", ["morning"]),
        ("shan", ["morning"]),
    ]


async def test_who_says_that_it_lacks_something_is_sent_what_concerns_it(control: ControlStore) -> None:
    broker = Outbox()
    service = made(control, broker)
    for target in (AREA, Target(area="440000000000"), Target(agent="lin"), Target(agent="lin", device="speaker"), Target(agent="far"), Target(area=OTHER)):  # fmt: skip
        await asyncio.to_thread(control.change_schedule, target, lambda _: [programme()], T0, "wang")
    async with running(service.run(0.01)):
        service.has("lin", NOTHING)
        await until(lambda: len(broker.sent) == 4)
        first = sent(broker)
        assert {agent for agent, _ in first} == {"lin"}
        assert {target_text(schedule.target) for _, schedule in first} == {VILLAGE, "440000000000", "agent/lin", "agent/lin/speaker"}  # fmt: skip
        service.has("lin", digest(*first))
        service.has("nobody", NOTHING)
        service.has("far", NOTHING)
        await until(lambda: len(broker.sent) >= 7)
    assert {agent for agent, _ in sent(broker)[4:]} == {"far"}, (
        "who has all is sent nothing, and who is unknown neither"
    )


async def test_a_removal_is_told_too(control: ControlStore) -> None:
    broker = Outbox()
    service = made(control, broker)
    async with running(service.run(0.01)):
        await service.change(Target(agent="lin"), lambda _: [programme()], "wang")
        await service.change(Target(agent="lin"), lambda _: [], "wang")
        await until(lambda: any(not schedule.programmes for _, schedule in sent(broker)))
    numbers = [schedule.number for _, schedule in sent(broker)]
    assert numbers == sorted(numbers)


async def test_another_collector_s_change_is_seen(control: ControlStore) -> None:
    broker = Outbox()
    service = made(control, broker)
    async with running(service.run(0.01)):
        service.has("lin", NOTHING)
        await until(lambda: not service._asked)
        assert not broker.sent
        await asyncio.to_thread(control.change_schedule, AREA, lambda _: [programme()], T0, "li")
        service.has("lin", NOTHING)
        await until(lambda: len(broker.sent) == 1)


async def test_a_broker_that_is_away_is_tried_again(control: ControlStore) -> None:
    broker = Outbox(broken="no connection")
    service = made(control, broker)
    async with running(service.run(0.01)):
        await service.change(AREA, lambda _: [programme()], "wang")
        service.has("far", NOTHING)
        await asyncio.sleep(0.05)
        broker.broken = ""
        await until(lambda: len(broker.sent) >= 2)
    assert {agent for agent, _ in sent(broker)} == {"lin", "shan"}


async def test_another_key_signs_again_and_a_long_document_is_refused(control: ControlStore) -> None:
    broker = Outbox()
    service = made(control, broker)
    async with running(service.run(0.01)):
        await service.change(Target(agent="lin"), lambda _: [programme()], "wang")
        await until(lambda: len(broker.sent) == 1)
        broker.key = Outbox().key
        service.has("lin", NOTHING)
        await until(lambda: len(broker.sent) == 2)
        assert read_schedule(broker.sent[1].payload, broker.key.public_key())
        with pytest.raises(ValueError, match="divide"):
            await service.change(AREA, lambda _: [programme(f"p{n}", "长" * 2000) for n in range(22)], "wang")
    assert len(await asyncio.to_thread(control.schedules)) == 1


async def test_who_holds_what_nobody_knows_is_named_once(
    control: ControlStore, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Outbox()
    service = made(control, broker)
    await asyncio.to_thread(control.change_schedule, AREA, lambda _: [programme()], T0, "wang")
    async with running(service.run(0.01)):
        for _ in range(3):
            service.has("lin", "f" * 32)
            await until(lambda: not service._asked)
    assert len(broker.sent) == 3
    assert [record.getMessage().split()[:2] for record in caplog.records] == [["agent", "lin"]]
