"""Programmes against a calendar, clocks that jump, restarts at any moment, and disks that refuse."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.kit import running, until
from village_agent.commands.addressing import Addressee
from village_agent.disk import DiskThread
from village_agent.identity.keyring import PinnedKey
from village_agent.loudspeaker.programme import LEAD_SECONDS, TOLERANCE_SECONDS, Around, Programmes
from village_agent.loudspeaker.schedules import FILE, Schedules
from village_wire.broadcasts import Audio, Track
from village_wire.commands import Broadcast, Target
from village_wire.events import EventData, Receipt
from village_wire.recurrence import Recurrence
from village_wire.schedules import Item, Programme, Schedule, digest_of, sign_schedule
from village_wire.tags import meant

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VILLAGE = "441900003001"
AREA = Target(area=VILLAGE)
#: Half past six in China.
DUE = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)
WHEN = Recurrence(start=datetime(2026, 11, 24, 6, 30), rule="FREQ=DAILY")
SOUND = Audio(sha256="a" * 64, bytes=1000, seconds=30, token="t")


def programme(identity: str = "morning", **more: Any) -> Programme:
    values = {
        "id": identity,
        "title": "早间防诈",
        "category": "anti_fraud",
        "when": WHEN,
        "items": (Item(text="谨防诈骗"),),
    }
    return Programme.model_validate({**values, **more})


class Box:
    """An agent's parts around programmes; `now` is what its clock shows."""

    def __init__(self, folder: Path, now: datetime, devices: Iterable[str] = ("speaker",)) -> None:
        self.now = now
        self.known = asyncio.Event()
        self.known.set()
        self.disk = DiskThread()
        self.devices = list(devices)
        self.queued: list[tuple[str, UUID, Broadcast]] = []
        self.withdrawn: list[tuple[str, UUID, str]] = []
        self.receipts: list[tuple[str, Receipt]] = []
        self.told: list[tuple[str, str]] = []
        self.sounds: set[str] = set()
        self.addressee = Addressee("lin", VILLAGE, PinnedKey(KEY.public_key()))
        self.schedules = Schedules(self.addressee, folder / FILE, self.disk, lambda: self.now, self.known)
        around = Around(
            self, self._meant, self._prefetch, self._post, lambda *told: self.told.append(told), lambda: self.now, self.known
        )  # fmt: skip
        self.programmes = Programmes(self.schedules, self.disk, around)

    async def queue(self, identity: UUID, broadcast: Broadcast, device: str) -> None:
        if (device, identity) not in [(name, known) for name, known, _ in self.queued]:
            self.queued.append((device, identity, broadcast))

    async def withdraw(self, identity: UUID, device: str, reason: str) -> None:
        self.withdrawn.append((device, identity, reason))

    def _meant(self, target: Target) -> list[str]:
        # Here each device carries its own name as a tag.
        return [name for name in self.devices if target.device in {None, name} and meant({name}, target.tags)]

    def _post(self, device: str, data: EventData) -> None:
        assert isinstance(data, Receipt)
        self.receipts.append((device, data))

    def _prefetch(self, audios: Iterable[Audio]) -> None:
        self.sounds = {audio.sha256 for audio in audios}

    async def begin(self) -> None:
        await self.schedules.load()
        await self.programmes._load()

    async def take(
        self, *programmes: Programme, number: int = 1, target: Target = AREA, key: Ed25519PrivateKey = KEY
    ) -> None:
        await self.schedules._take(sign_schedule(Schedule(target=target, number=number, programmes=programmes), key))

    async def at(self, time: datetime) -> None:
        """The clock shows a time, and the program looks at it."""
        self.now = time
        await self.programmes._step(time.timestamp())

    async def close(self) -> None:
        await self.schedules.close()
        await self.disk.close()

    @property
    def heard(self) -> list[tuple[str, str, datetime | None]]:
        return [(device, broadcast.text or "sound", broadcast.start) for device, _, broadcast in self.queued]


@pytest.fixture
async def boxes(tmp_path: Path) -> AsyncIterator[Callable[..., Box]]:
    made: list[Box] = []

    def make(now: datetime = DUE - timedelta(hours=1), devices: Iterable[str] = ("speaker",)) -> Box:
        made.append(Box(tmp_path, now, devices))
        return made[-1]

    yield make
    for box in made:
        await box.close()


async def test_a_programme_is_handed_over_shortly_before_its_time_each_day_and_once(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    await box.take(
        programme(items=(Item(text="一"), Item(audio=SOUND), Item(track=Track(folder=2, number=15))), volume=40)
    )
    await box.at(DUE - timedelta(seconds=LEAD_SECONDS + 1))
    assert not box.queued
    for seconds in (LEAD_SECONDS - 1, 10, 0, -10, -3000):
        await box.at(DUE - timedelta(seconds=seconds))
    await box.at(DUE + timedelta(days=1, seconds=-5))
    assert box.heard == [
        ("speaker", text, DUE + timedelta(days=day)) for day in (0, 1) for text in ("一", "sound", "sound")
    ]
    assert box.queued[2][2].track == Track(folder=2, number=15)
    first = box.queued[0][2]
    assert (first.rank, first.category, first.volume, first.chime) == ("routine", "anti_fraud", 40, True)
    assert first.end == DUE + timedelta(hours=1)
    assert not box.queued[1][2].chime, "a playlist has one chime"
    assert len({identity for _, identity, _ in box.queued}) == 6
    assert box.sounds == {SOUND.sha256}


@pytest.mark.parametrize("killed_at", [-20, 0, 20, 59, 61, 3600])
async def test_a_restart_plays_nothing_twice_and_forgets_nothing(boxes: Callable[..., Box], killed_at: float) -> None:
    first = boxes()
    await first.begin()
    await first.take(programme())
    await first.at(DUE - timedelta(seconds=25))
    again = boxes(DUE + timedelta(seconds=killed_at))
    await again.begin()
    await again.at(again.now)
    await again.at(DUE + timedelta(days=1))
    assert len(first.queued) == 1
    assert again.heard == [("speaker", "谨防诈骗", DUE + timedelta(days=1))]
    assert not again.receipts


@pytest.mark.parametrize(("late", "plays"), [(TOLERANCE_SECONDS - 1, True), (TOLERANCE_SECONDS + 1, False)])
async def test_what_was_missed_is_told_and_not_played_late(boxes: Callable[..., Box], late: float, plays: bool) -> None:
    first = boxes(devices=("one", "two"))
    await first.begin()
    await first.take(programme())
    await first.at(DUE - timedelta(minutes=10))
    again = boxes(DUE + timedelta(days=2, seconds=late), devices=("one", "two"))
    await again.begin()
    await again.at(again.now)
    missed = 2 if plays else 3
    assert [device for device, _ in again.receipts] == ["one", "two"] * missed
    assert {(receipt.stage, receipt.category) for _, receipt in again.receipts} == {("skipped", "anti_fraud")}
    assert "2026-11-23T22:30:00Z" in again.receipts[0][1].evidence
    assert len(again.queued) == (2 if plays else 0)
    again.receipts.clear()
    await again.at(again.now + timedelta(minutes=1))
    third = boxes(again.now + timedelta(minutes=5), devices=("one", "two"))
    await third.begin()
    await third.at(third.now)
    assert not again.receipts
    assert not third.receipts, "a missed time is told once"


async def test_a_schedule_that_came_today_missed_nothing_yesterday(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    await box.at(DUE - timedelta(days=3))
    box.now = DUE + timedelta(minutes=5)
    await box.take(programme())
    await box.at(DUE + timedelta(minutes=6))
    assert not box.receipts
    assert not box.queued


async def test_a_new_programme_may_be_due_at_once(boxes: Callable[..., Box]) -> None:
    box = boxes(DUE - timedelta(seconds=15))
    await box.begin()
    await box.at(box.now)
    await box.take(programme())
    await box.at(DUE - timedelta(seconds=14))
    assert len(box.queued) == 1


async def test_a_clock_that_is_set_back_plays_nothing_twice(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    await box.take(programme())
    await box.at(DUE)
    for day in (400, 0, 1):
        await box.at(DUE + timedelta(days=day, seconds=-3))
    starts = [broadcast.start for _, _, broadcast in box.queued]
    assert starts == [DUE, DUE + timedelta(days=400), DUE + timedelta(days=1)]
    again = boxes(DUE + timedelta(days=400, seconds=-40))
    await again.begin()
    await again.at(DUE + timedelta(days=400, seconds=-5))
    assert len(again.queued) == 1, "what a wrong clock played does not count when that day comes"


async def test_what_was_removed_is_withdrawn_and_what_was_changed_counts_from_the_next_time(
    boxes: Callable[..., Box],
) -> None:
    box = boxes()
    await box.begin()
    await box.take(programme(), programme("other"))
    await box.at(DUE - timedelta(seconds=20))
    assert len(box.queued) == 2
    await box.take(programme(items=(Item(text="新"),)), number=2)
    await box.at(DUE - timedelta(seconds=10))
    assert [(device, reason) for device, _, reason in box.withdrawn] == [("speaker", "the programme was removed")]
    await box.at(DUE + timedelta(days=1))
    assert [text for _, text, _ in box.heard][2:] == ["新"]


async def test_only_the_devices_of_the_target(boxes: Callable[..., Box]) -> None:
    box = boxes(devices=("one", "two"))
    await box.begin()
    await box.take(programme(), target=Target(agent="lin", device="two"))
    await box.at(DUE)
    assert [device for device, _, _ in box.queued] == ["two"]


async def test_only_the_devices_that_carry_a_tag(boxes: Callable[..., Box]) -> None:
    box = boxes(devices=("speaker", "horn"))
    await box.begin()
    await box.take(programme("a"), target=AREA.model_copy(update={"tags": ("horn", "school")}))
    await box.take(programme("b"), target=AREA.model_copy(update={"tags": ("school",)}))
    assert len(box.schedules.current) == 2, "a device may carry the tag tomorrow"
    await box.at(DUE)
    assert [name for name, _, _ in box.heard] == ["horn"]
    assert not box.receipts


async def test_what_can_not_be_noted_is_not_played(boxes: Callable[..., Box], monkeypatch: pytest.MonkeyPatch) -> None:
    box = boxes()
    await box.begin()
    await box.take(programme())

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr("village_agent.loudspeaker.schedule_file.ScheduleFile.note", full)
    await box.at(DUE - timedelta(seconds=20))
    assert [reason for _, _, reason in box.withdrawn] == [
        "the disk takes no note of it, and it must not be heard twice"
    ]


async def test_without_the_time_nothing_plays_and_that_is_told(
    boxes: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("village_agent.loudspeaker.programme._UNSURE_SECONDS", 0.01)
    first = boxes()
    await first.begin()
    await first.take(programme())
    box = boxes(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    box.known.clear()
    await box.schedules.load()
    async with running(box.programmes.run()):
        await until(lambda: bool(box.told))
        assert box.told[0][0] == "clock_unsure"
        assert box.told[0][1].startswith("1 programmes wait")
        assert not box.queued
        box.now = DUE
        box.known.set()
        await until(lambda: bool(box.queued))
    assert box.told[-1] == ("works", "")


async def test_which_schedules_count(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    thief = Ed25519PrivateKey.generate()
    refused: list[str] = []
    box.schedules.on_refused = refused.append
    await box.take(programme(), key=thief)
    assert refused == ["not signed with the collector's command key"]
    await box.take(programme(), target=Target(area="441900004001"))
    await box.take(programme(), target=Target(agent="other"))
    assert not box.schedules.current
    await box.take(programme("a"), number=5)
    await box.take(programme("b"), number=5)
    await box.take(programme("c"), number=4)
    await box.take(programme("box"), number=1, target=Target(agent="lin"))
    ids = {key: [one.id for one in known.schedule.programmes] for key, known in box.schedules.current.items()}
    assert ids == {VILLAGE: ["a"], "agent/lin": ["box"]}
    assert box.schedules.digest() == digest_of(known.held for known in box.schedules.current.values())


async def test_a_thief_s_great_number_does_not_outlast_the_key(boxes: Callable[..., Box]) -> None:
    box = boxes()
    await box.begin()
    await box.take(programme("theirs"), number=2**53 - 1)
    fresh = Ed25519PrivateKey.generate()
    box.addressee.keys = PinnedKey(fresh.public_key())
    await box.take(programme("replayed"), number=2**53 - 1)
    assert [one.id for one in box.schedules.current[VILLAGE].schedule.programmes] == ["theirs"], (
        "plays on until it is replaced"
    )
    await box.take(programme("ours"), number=7, key=fresh)
    await box.take(programme("older"), number=6, key=fresh)
    assert [one.id for one in box.schedules.current[VILLAGE].schedule.programmes] == ["ours"]


async def test_schedules_outlive_a_restart_and_follow_a_move(boxes: Callable[..., Box]) -> None:
    first = boxes()
    await first.begin()
    assert first.schedules.digest() == digest_of([])
    await first.take(programme())
    again = boxes()
    assert again.schedules.digest() is None, "what is not read yet must not be asked for"
    await again.begin()
    assert again.schedules.digest() == first.schedules.digest() != digest_of([])
    again.addressee.area = "441900004001"
    assert not again.schedules.current
    assert again.schedules.digest() == digest_of([])


async def test_a_schedule_that_the_disk_refuses_does_not_count(
    boxes: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = boxes()
    await box.begin()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr("village_agent.loudspeaker.schedule_file.ScheduleFile.keep", full)
    await box.take(programme())
    assert not box.schedules.current


async def test_a_damaged_file_is_put_aside(boxes: Callable[..., Box], tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / FILE).write_bytes, b"no database at all" * 500)
    box = boxes()
    await box.begin()
    await box.take(programme())
    assert await asyncio.to_thread((tmp_path / f"{FILE}.damaged").exists)
    assert box.schedules.current
