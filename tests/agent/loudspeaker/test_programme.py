"""Programmes against a calendar, clocks that jump, restarts at any moment, and disks that refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.agent.kit import running, until
from tests.agent.loudspeaker.programmes import AREA, DUE, SOUND, Box, programme
from village_agent.loudspeaker.programme import LEAD_SECONDS, TOLERANCE_SECONDS
from village_wire.broadcasts import Track
from village_wire.commands import Target
from village_wire.schedules import Item


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
