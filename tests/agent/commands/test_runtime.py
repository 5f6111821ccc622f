"""Commands: at most once, never late, never because something was retained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.collector import KEY
from tests.agent.desk import TOPIC, Clock, desk, results_of
from tests.agent.kit import AREA, Gate, Speaker, single
from village_wire.commands import Arguments, Broadcast, Snapshot, Stop, Target, Unlock, sign_command
from village_wire.events import CommandResult, DoorUnlocked
from village_wire.incoming import Received

TEXT = Broadcast(rank="notice", text="x", end=datetime(2030, 1, 1, tzinfo=UTC))


async def test_an_unlock_is_accepted_done_and_recorded(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock(seconds=7), Target(agent="box", device="gate"))
        one.send(command)
        assert await one.results(command.id, 2) == [("gate", "accepted", ""), ("gate", "done", "")]
        assert gate.unlocked == [7]
        (unlocked,) = await one.parts.until("door_unlocked")
        assert unlocked.data == DoorUnlocked(seconds=7, by="command", command=command.id)


async def test_a_second_delivery_answers_the_first_results_and_executes_nothing(tmp_path: Path) -> None:
    gate = Gate()
    clock = Clock()
    async with desk(tmp_path, single("gate", gate), clock=clock) as one:
        command = one.command(Unlock())
        one.send(command)
        await one.results(command.id, 2)
        first = [event for event in one.parts.seen if isinstance(event.data, CommandResult)][-1]
        one.send(command)
        clock.now += timedelta(hours=1)
        one.send(command, retained=True)
        refused = one.command(Unlock(), Target(agent="box", device="absent"))
        one.send(refused)
        await one.results(refused.id, 1)
        assert gate.unlocked == [5]
        # The same event: whoever has it already is not told anything new.
        assert results_of(one.parts.seen, command.id)[-1][0].id == first.id
        one.send(refused)
        one.send(refused)
    async with desk(tmp_path, single("gate", gate), clock=clock) as again:
        again.send(command)
        last = again.command(Stop(), Target(agent="box", device="absent"))
        again.send(last)
        await again.results(last.id, 1)
        assert gate.unlocked == [5]


@pytest.mark.parametrize(
    ("target", "arguments", "lifetime", "late", "reason"),
    [
        (Target(agent="box", device="absent"), Unlock(), 60, 0, "no such device"),
        (Target(agent="box", device="gate"), TEXT, 60, 0, "this device can't broadcast"),
        (Target(agent="box"), TEXT, 60, 0, "no device here can broadcast"),
        (Target(agent="other", device="gate"), Unlock(), 60, 0, "meant for another agent"),
        (Target(area="330110101206"), Unlock(), 60, 0, "meant for another area"),
        (Target(area=AREA + "-g01"), Unlock(), 60, 0, "meant for another area"),
        (Target(agent="box"), Unlock(), 60, 60, "expired"),
        (Target(agent="box"), Unlock(), 3600, -3000, "clock unsure: the command was issued 0:50:00 after the agent's time"),
    ],
)  # fmt: skip
async def test_a_command_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, target: Target, arguments: Arguments, lifetime: float, late: float, reason: str
) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(arguments, target, lifetime)
        one.clock.now += timedelta(seconds=late)
        one.send(command)
        assert await one.results(command.id, 1) == [(None, "refused", reason)]
        assert gate.unlocked == []


async def test_a_retained_command_is_refused(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock())
        one.send(command, retained=True)
        assert await one.results(command.id, 1) == [(None, "refused", "retained")]
        assert gate.unlocked == []


async def test_an_area_command_reaches_every_able_device_below_it(tmp_path: Path) -> None:
    first, second = Speaker(), Speaker()
    for speaker in (first, second):
        speaker.finish.set()
    async with desk(tmp_path, single("a", first), single("b", second), single("gate", Gate())) as one:
        command = one.command(one.text("fire drill"), Target(area="330110000000"))
        one.send(command)
        results = await one.results(command.id, 4)
        assert sorted(results, key=str) == [
            ("a", "accepted", ""),
            ("a", "done", ""),
            ("b", "accepted", ""),
            ("b", "done", ""),
        ]
        await one.parts.until("receipt", lambda found: len(found) == 6)
        assert sorted(await one.receipts(), key=str) == [
            (name, stage, "") for name in ("a", "b") for stage in ("finished", "queued", "started")
        ]


async def test_one_command_on_the_own_and_on_an_area_topic_acts_once(tmp_path: Path) -> None:
    gate = Gate()
    async with desk(tmp_path, single("gate", gate)) as one:
        command = one.command(Unlock(), Target(area=AREA))
        for topic in (TOPIC, f"village/1/area/{AREA}/command", "village/1/area/330110000000/command"):
            one.commands.on_message(Received(topic, sign_command(command, KEY), retained=False))
        await one.results(command.id, 2)
        last = one.command(Stop(), Target(agent="box", device="absent"))
        one.send(last)
        await one.results(last.id, 1)
        assert gate.unlocked == [5]
        assert len({event.id for event, _ in results_of(one.parts.seen, command.id)}) == 2


async def test_a_snapshot_needs_a_camera(tmp_path: Path) -> None:
    async with desk(tmp_path, single("gate", Gate())) as one:
        command = one.command(Snapshot(upload_url="http://127.0.0.1:1/x", upload_token="t"))
        one.send(command)
        assert await one.results(command.id, 1) == [(None, "refused", "no device here can snapshot")]
