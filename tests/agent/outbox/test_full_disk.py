"""A disk that is full or read-only: doors and loudspeakers go on, nothing that was called safe is lost, and no command comes twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.agent.collector import Collector, collector
from tests.agent.desk import Clock, desk
from tests.agent.kit import Gate, Speaker, make_event, single, site, until
from tests.agent.program import agent, configuration
from tests.agent.small_disk import SmallDisk, card, small_disk
from tests.agent.test_uplink import add_lines, uplink
from tests.peers.mosquitto import Mosquitto
from village_agent.commands import record as command_record
from village_agent.outbox import outbox as module
from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.outbox import OutboxUnavailable
from village_wire.commands import Broadcast, Command, Target, Unlock
from village_wire.events import ButtonPressed, Receipt, StateChanged

UNKNOWN = "the agent lost its record of commands; whether this one was executed is unknown"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)


async def test_a_disk_that_fills_up_loses_nothing_and_is_used_again_when_there_is_room(
    tmp_path: Path, disk: SmallDisk
) -> None:
    conditions: list[str] = []
    safe: list[str] = []
    async with Mosquitto(tmp_path) as broker, collector(broker.url) as far, site(disk.path) as parts:
        parts.outbox.on_condition = lambda code, _: conditions.append(code)

        async def press(number: int) -> None:
            event = make_event(None, ButtonPressed(action=str(number)))
            try:
                await parts.outbox.add_events([event])
            except OutboxUnavailable:
                return
            safe.append(str(event.id))

        for number in range(100):
            await press(number)
        assert len(safe) == 100
        await asyncio.to_thread(disk.fill)
        number = 100
        async with asyncio.timeout(10):
            while not parts.outbox.problem:
                await press(number)
                add_lines(parts, range(1000 * number, 1000 * number + 50))
                number += 1
                await asyncio.sleep(0)
        assert conditions == ["disk_full"]
        # With the disk still full, all goes out: what is on disk from there, the rest from memory.
        async with uplink(parts, broker.url):
            await press(number)
            await until(lambda: len(far.events) == number + 1, 20)
            await asyncio.to_thread(disk.free)
            await until(lambda: not parts.outbox.problem)
            await press(number + 1)
            await until(lambda: len(far.events) == number + 2 and parts.outbox.waiting == 0, 20)
        assert conditions == ["disk_full", "works"]
        assert parts.outbox.lost == 0
        assert set(safe) <= {str(event.id) for event in far.events}
        # What was on its way from memory came again from the disk: the same lines, which a store keeps once.
        assert len(set(far.lines)) == 50 * (number - 100)


async def test_what_memory_can_not_hold_while_the_disk_is_full_is_counted(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("village_agent.outbox.memory.MAX_UNWRITTEN", 20)
    monkeypatch.setattr("village_agent.outbox.memory._FOR_EVENTS", 10)
    async with site(disk.path) as parts:
        await parts.outbox.add_events([make_event(None, ButtonPressed(action="before"))])
        await asyncio.to_thread(disk.fill)
        written = 1
        async with asyncio.timeout(10):
            while not parts.outbox.problem:
                parts.hub.post(None, ButtonPressed(action="x" * 80))
                written += 1
                await asyncio.sleep(0.001)
        for number in range(100):
            parts.hub.post(None, ButtonPressed(action="x"))
            add_lines(parts, range(number, number + 1))
        lost = parts.outbox.lost
        assert lost >= 80 + 80
        await asyncio.to_thread(disk.free)
        await until(lambda: not parts.outbox.problem)
        losses = {loss.item_class: loss for loss in await parts.outbox.losses()}
        assert {loss.reason for loss in losses.values()} == {"disk not writable"}
        assert sum(loss.count for loss in losses.values()) == lost
        assert parts.outbox.waiting + losses[ItemClass.EVENT].count == written + 100 + 20


async def test_an_agent_that_finds_its_disk_full_works_and_recovers(disk: SmallDisk) -> None:
    await asyncio.to_thread(disk.fill)
    gate, speaker = Gate(), Speaker()
    speaker.finish.set()
    async with desk(disk.path, single("gate", gate), single("horn", speaker)) as one:
        unlock, say = one.command(Unlock()), one.command(one.text("fire drill"))
        # Whatever was issued before the start may have been executed by a former session.
        old = one.command(Unlock())
        old = old.model_copy(update={"issued": old.issued - timedelta(seconds=1)})
        for command in (unlock, say, unlock, say, old):
            one.send(command)
        assert (await one.results(unlock.id, 2))[:2] == [("gate", "accepted", ""), ("gate", "done", "")]
        horn, outcome, reason = (await one.results(say.id, 2))[-1]
        assert (horn, outcome, "heard from memory" in reason) == ("horn", "done", True)
        await until(lambda: bool(speaker.said))
        assert await one.results(old.id, 1) == [(None, "refused", UNKNOWN)]
        assert (gate.unlocked, speaker.said) == ([5], ["fire drill"])
        await asyncio.to_thread(disk.free)
        await until(lambda: not one.parts.outbox.problem)
        later = one.command(Unlock())
        one.send(later)
        await one.results(later.id, 2)
        assert gate.unlocked == [5, 5]
    async with desk(disk.path, single("gate", gate)) as again:
        # What was remembered in memory has reached the table.
        for command in (unlock, later):
            again.send(command)
        last = again.command(Unlock(), Target(agent="box", device="absent"))
        again.send(last)
        assert await again.results(last.id, 1) == [(None, "refused", "no such device")]
        assert gate.unlocked == [5, 5]


async def test_what_was_executed_without_a_record_is_not_repeated_after_a_restart(disk: SmallDisk) -> None:
    gate = Gate()
    clock = Clock()
    async with desk(disk.path, single("gate", gate), clock=clock) as one:
        recorded = one.command(Unlock())
        one.send(recorded)
        await one.results(recorded.id, 2)
        await asyncio.to_thread(disk.fill)
        unrecorded = []
        async with asyncio.timeout(20):
            while not one.commands._record._memory:
                unrecorded = [one.command(Unlock())]
                one.send(unrecorded[0])
                await one.results(unrecorded[0].id, 2)
        opened = len(gate.unlocked)
        # As kill -9 would leave it: what is in memory is gone.
        one.commands._record._memory.clear()
        one.commands._record._results.clear()
    await asyncio.to_thread(disk.free)
    clock.now += timedelta(seconds=10)
    async with desk(disk.path, single("gate", gate), clock=clock) as again:
        again.send(unrecorded[0])
        assert (await again.results(unrecorded[0].id, 1))[-1] == (None, "refused", UNKNOWN)
        again.send(recorded)
        clock.now += timedelta(seconds=1)
        new = again.command(Unlock())
        again.send(new)
        await again.results(new.id, 2)
        assert len(gate.unlocked) == opened + 1


async def test_a_card_that_fails_is_told_and_short_lived_commands_go_on(tmp_path: Path) -> None:
    conditions: list[str] = []
    gate = Gate()
    with card(tmp_path) as disk:
        async with desk(disk.path, single("gate", gate)) as one:
            one.parts.outbox.on_condition = lambda code, _: conditions.append(code)
            before = one.command(Unlock())
            one.send(before)
            await one.results(before.id, 2)
            await asyncio.to_thread(disk.break_down)
            short = one.command(Unlock())
            lifetime = command_record.UNMARKED_LIFETIME.total_seconds()
            long = one.command(Unlock(), lifetime=lifetime + 60)
            for command in (before, short, short, long):
                one.send(command)
            assert (await one.results(short.id, 2))[-1] == ("gate", "done", "")
            assert await one.results(long.id, 1) == [(None, "refused", "the agent's disk takes no record of it")]
            assert gate.unlocked == [5, 5]
            await until(lambda: conditions == ["disk_read_only"])
            assert one.parts.outbox.waiting > 0


async def test_the_program_speaks_with_a_full_disk_says_so_and_recovers(tmp_path: Path, disk: SmallDisk) -> None:
    near, far_end = tmp_path / "line", tmp_path / "line-device"
    speaker = f'\n[[devices]]\nid = "horn"\ndriver = "syn6288"\nport = "{near}"\n'

    def codes(far: Collector) -> list[str]:
        found = [event for event in far.events if isinstance(event.data, StateChanged) and event.device is None]
        return [event.data.code for event in sorted(found, key=lambda event: event.time)]  # type: ignore[union-attr]

    def heard(far: Collector, broadcast: UUID) -> list[str]:
        found = [event.data for event in far.events if isinstance(event.data, Receipt)]
        return [receipt.stage for receipt in found if receipt.broadcast == broadcast]

    async def say(far: Collector) -> None:
        now = datetime.now(UTC)
        command = Command(
            id=uuid4(),
            target=Target(agent="box", device="horn"),
            arguments=Broadcast(rank="notice", text="hi", end=now + timedelta(minutes=1)),
            issuer="wang",
            issued=now,
            expires=now + timedelta(minutes=1),
        )
        await far.send(command, "village/1/agent/box/command")
        await until(lambda: "finished" in heard(far, command.id), 15)
        assert [outcome for _, outcome, _ in far.results(command.id)] == ["accepted", "done"]

    async with AsyncExitStack() as stack:
        for words in (("line", near, far_end), ("syn6288", far_end, "--speed", "10")):
            await stack.enter_async_context(program(f"village_emulators.{words[0]}", *map(str, words[1:])))
            await until(far_end.exists)
        broker = await stack.enter_async_context(Mosquitto(tmp_path))
        far = await stack.enter_async_context(collector(broker.url))
        config = configuration(disk.path, broker.url, speaker)
        (disk.path / "state").mkdir(0o700)
        await asyncio.to_thread(disk.fill)
        process = await stack.enter_async_context(agent(config))
        await until(lambda: "disk_full" in codes(far), 20)
        await say(far)
        await asyncio.to_thread(disk.free)
        await until(lambda: codes(far)[-1:] == ["works"], 20)
        await say(far)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert len([one for one in far.events if isinstance(one.data, Receipt) and one.data.stage == "finished"]) == 2


@asynccontextmanager
async def program(module: str, *arguments: str) -> AsyncIterator[None]:
    """Emulators end when their standard input does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        await process.communicate()
