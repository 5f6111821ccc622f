"""Doors: the decision, the lock, the light and the record, without any network."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from tests.agent.kit import Gate, HangingGate, running, single, site
from village_agent.door.decision import Decision, decide
from village_agent.door.runtime import DoorRuntime
from village_agent.report import UnitReport
from village_agent.tables import DoorTable
from village_drivers.kit import CardRead, KeysPressed, NotConnected
from village_wire.events import Alarm, DoorAccess, DoorUnlocked, Event

KNOWN = CardRead(26, bytes.fromhex("00123456"))
STRANGE = CardRead(26, bytes.fromhex("00999999"))
DOORS = [DoorTable(reader="gate", lock="gate", cards=("26:00123456",), unlock_seconds=3)]


@pytest.mark.parametrize(
    ("card", "cards", "expected"),
    [
        ("26:00123456", {"26:00123456"}, Decision(granted=True, reason="known_card")),
        ("26:00123457", {"26:00123456"}, Decision(granted=False, reason="unknown_card")),
        ("27:00123456", {"26:00123456"}, Decision(granted=False, reason="unknown_card")),
        ("26:00123456", set(), Decision(granted=False, reason="unknown_card")),
        ("26:00123456", None, Decision(granted=False, reason="no_door")),
    ],
)  # fmt: skip
def test_only_a_listed_card_passes(card: str, cards: set[str] | None, expected: Decision) -> None:
    assert decide(card, cards) == expected


def access(event: Event) -> tuple[str, str, str | None]:
    assert isinstance(event.data, DoorAccess)
    outcome: Literal["granted", "denied"] = event.data.outcome
    return outcome, event.data.reason, event.data.door


async def test_a_known_card_opens_and_a_strange_one_does_not(tmp_path: Path) -> None:
    gate = Gate()
    async with site(tmp_path, single("gate", gate)) as parts:
        doors = DoorRuntime(DOORS, parts.roster, parts.hub)
        parts.hub.on_card = doors.on_card
        report = UnitReport(parts.roster.units["gate"], parts.hub)
        async with running(doors.run()):
            await asyncio.sleep(0)
            report.event("gate", STRANGE)
            report.event("gate", KNOWN)
            unlocked = await parts.until("door_unlocked")
            accesses = await parts.until("door_access", lambda found: len(found) == 2)
        assert [access(event) for event in accesses] == [
            ("denied", "unknown_card", None),
            ("granted", "known_card", "gate"),
        ]
        assert gate.unlocked == [3]
        assert gate.lights == ["red", "green"]
        assert unlocked[0].device == "gate"
        assert unlocked[0].data == DoorUnlocked(seconds=3, by="credential")


async def test_a_lock_that_fails_is_an_alarm_once_and_again_on_recovery(tmp_path: Path) -> None:
    gate = Gate()
    gate.error = NotConnected("no_answer", "reader 1 is silent")
    async with site(tmp_path, single("gate", gate)) as parts:
        doors = DoorRuntime(DOORS, parts.roster, parts.hub)
        async with running(doors.run()):
            await asyncio.sleep(0)
            doors.on_card("gate", KNOWN)
            doors.on_card("gate", KNOWN)
            accesses = await parts.until("door_access", lambda found: len(found) == 2)
            assert access(accesses[0]) == ("granted", "known_card", "gate")
            gate.error = None
            doors.on_card("gate", KNOWN)
            alarms = await parts.until("alarm", lambda found: len(found) == 2)
        data = [event.data for event in alarms if isinstance(event.data, Alarm)]
        assert [(alarm.code, alarm.active) for alarm in data] == [("unlock_failed", True), ("unlock_failed", False)]
        assert gate.unlocked == [3]


async def test_a_fault_of_a_driver_neither_ends_the_door_nor_hides_the_access(tmp_path: Path) -> None:
    gate = Gate()
    gate.error = ZeroDivisionError()
    async with site(tmp_path, single("gate", gate)) as parts:
        doors = DoorRuntime(DOORS, parts.roster, parts.hub)
        async with running(doors.run()):
            await asyncio.sleep(0)
            doors.on_card("gate", KNOWN)
            await parts.until("door_access")
            gate.error = None
            doors.on_card("gate", KNOWN)
            await parts.until("door_unlocked")


async def test_a_reader_without_a_door_records_the_card(tmp_path: Path) -> None:
    async with site(tmp_path, single("gate", Gate())) as parts:
        doors = DoorRuntime([], parts.roster, parts.hub)
        async with running(doors.run()):
            await asyncio.sleep(0)
            doors.on_card("gate", KNOWN)
            (event,) = await parts.until("door_access")
        assert access(event) == ("denied", "no_door", None)


async def test_a_hanging_reader_does_not_delay_another_door(tmp_path: Path) -> None:
    gate = Gate()
    doors = [*DOORS, DoorTable(reader="slow", lock="slow", cards=DOORS[0].cards)]
    async with site(tmp_path, single("gate", gate), single("slow", HangingGate())) as parts:
        runtime = DoorRuntime(doors, parts.roster, parts.hub)
        async with running(runtime.run()):
            await asyncio.sleep(0)
            for _ in range(20):
                runtime.on_card("slow", KNOWN)
            runtime.on_card("gate", KNOWN)
            async with asyncio.timeout(1):
                await gate.changed.wait()
        assert gate.unlocked == [3]
        assert sum(parts.hub.invalid.values()) == 20 - 10


async def test_typed_digits_go_nowhere(tmp_path: Path) -> None:
    async with site(tmp_path, single("gate", Gate())) as parts:
        UnitReport(parts.roster.units["gate"], parts.hub).event("gate", KeysPressed("1234"))
        assert await parts.events() == []
        assert "1234" not in repr(KeysPressed("1234"))


async def test_the_access_is_on_disk_before_the_lock_acts(tmp_path: Path) -> None:
    def accesses_on_disk() -> int:
        with closing(sqlite3.connect(f"file:{tmp_path / 'outbox.db'}?mode=ro", uri=True)) as file:
            count: int = file.execute(
                "SELECT count(*) FROM event WHERE instr(CAST(content AS TEXT), 'door_access')"
            ).fetchone()[0]
            return count

    class Looking(Gate):
        recorded: int | None = None

        async def unlock(self, seconds: float) -> None:
            self.recorded = await asyncio.to_thread(accesses_on_disk)
            await super().unlock(seconds)

    gate = Looking()
    async with site(tmp_path, single("gate", gate)) as parts:
        doors = DoorRuntime(DOORS, parts.roster, parts.hub)
        await parts.outbox.add_events([])
        async with running(doors.run()):
            await asyncio.sleep(0)
            doors.on_card("gate", KNOWN)
            await parts.until("door_unlocked")
    assert gate.recorded == 1


async def test_a_disk_that_hangs_keeps_nobody_out(tmp_path: Path) -> None:
    gate = Gate()
    hanging = threading.Event()
    async with site(tmp_path, single("gate", gate)) as parts:
        doors = DoorRuntime(DOORS, parts.roster, parts.hub)
        await parts.outbox.add_events([])
        stuck = asyncio.create_task(parts.disk.run(lambda: hanging.wait(10)))
        async with running(doors.run()):
            await asyncio.sleep(0)
            doors.on_card("gate", KNOWN)
            async with asyncio.timeout(1):
                await gate.changed.wait()
            assert not stuck.done()
            hanging.set()
            (event,) = await parts.until("door_access")
        assert access(event) == ("granted", "known_card", "gate")
        await stuck
