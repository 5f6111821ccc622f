"""One loudspeaker from command to receipt, in fake time."""

from __future__ import annotations

import asyncio

import pytest

from tests.agent.loudspeaker.bench import Bench, heard, on_bench
from tests.agent.loudspeaker.kit import Chip
from village_agent.loudspeaker.policy import Profile, QuietHours


def test_a_broadcast_is_heard_at_once_and_told_step_by_step() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 10", volume=70)
        await asyncio.sleep(20)
        assert heard(bench) == [("water 10", 0, 10)]
        assert bench.handle.spans[0].volume == 70
        assert bench.stages(identity) == ["queued", "started", "finished"]
        assert bench.told(identity)[-1].evidence == "played 10.00 s"
        assert (bench.notes.stored, bench.contents.released) == ({}, [identity])

    on_bench(work)


def test_an_emergency_interrupts_and_the_rest_follows_where_it_stopped() -> None:
    async def work(bench: Bench) -> None:
        music = bench.broadcast("music 60", rank="background")
        await asyncio.sleep(20.5)
        flood = bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(0.05)
        assert bench.handle.sounds
        assert heard(bench) == [("music 60", 0, 20.5)]
        await asyncio.sleep(60)
        assert heard(bench) == [("music 60", 0, 20.5), ("flood 10", 0, 10), ("music 60", 20.5, 60)]
        assert bench.stages(music) == ["queued", "started", "paused", "resumed", "finished"]
        paused, resumed = bench.told(music)[2:4]
        assert paused.position == pytest.approx(20.5, abs=0.01)
        assert paused.reason == "emergency goes first"
        assert resumed.position == paused.position
        assert bench.stages(flood) == ["queued", "started", "finished"]

    on_bench(work)


def test_started_bears_the_time_of_the_first_sample() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 10", starts=100, chime=True)
        await asyncio.sleep(130)
        assert heard(bench) == [("chime", 0, 1), ("water 10", 0, 10)]
        (started,) = [
            event for event in bench.notes.receipts if event.data.kind == "receipt" and event.data.stage == "started"
        ]
        assert started.time.timestamp() - bench.handle.spans[0].begin == pytest.approx(
            bench.now() - asyncio.get_running_loop().time(), abs=0.001
        )
        assert bench.ends(identity) == ["finished"]

    on_bench(work, profile=Profile(chimes=frozenset({"notice"})))


def test_two_emergencies_at_once_are_heard_one_after_the_other() -> None:
    async def work(bench: Bench) -> None:
        first = bench.broadcast("flood 10", rank="emergency")
        second = bench.broadcast("storm 10", rank="emergency")
        same = bench.broadcast("storm 10", rank="emergency")
        await asyncio.sleep(30)
        assert heard(bench) == [("flood 10", 0, 10), ("storm 10", 0, 10)]
        assert bench.ends(first) == bench.ends(second) == ["finished"]
        assert bench.ends(same) == ["skipped"]
        assert bench.told(same)[-1].reason == f"merged with {second}, which says the same"

    on_bench(work)


def test_each_time_is_told_with_its_number_and_pauses_are_kept() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 10", times=3, pause=20)
        await asyncio.sleep(100)
        assert [round(span.begin) for span in bench.handle.spans] == [0, 30, 60]
        assert [(one.stage, one.play) for one in bench.told(identity)] == [
            ("queued", None), ("started", 1), ("started", 2), ("started", 3), ("finished", 3),
        ]  # fmt: skip

    on_bench(work)


@pytest.mark.parametrize("jump", [-3 * 3600.0, 3600.0])
def test_a_clock_that_is_set_lets_nothing_be_heard_twice_or_late(jump: float) -> None:
    async def work(bench: Bench) -> None:
        first = bench.broadcast("water 10", times=3, pause=20, ends=86_400)
        done = bench.broadcast("storm 5", ends=86_400)
        await asyncio.sleep(20)
        assert bench.ends(done) == ["finished"]
        bench.shift = jump
        bench.station.wake()
        await asyncio.sleep(100)
        assert [(span.name, round(span.begin)) for span in bench.handle.spans] == [
            ("water 10", 0), ("storm 5", 10), ("water 10", 30), ("water 10", 60),
        ]  # fmt: skip
        assert bench.ends(first) == ["finished"]

    on_bench(work)


def test_what_is_withdrawn_falls_silent_at_once() -> None:
    async def work(bench: Bench) -> None:
        sounding, waiting = bench.broadcast("water 10"), bench.broadcast("storm 5")
        await asyncio.sleep(3)
        assert bench.station.cancel(sounding, "a mistake")
        await asyncio.sleep(0.01)
        assert heard(bench) == [("water 10", 0, 3)]
        assert not bench.station.cancel(sounding, "again")
        assert bench.station.cancel_all("stopped") == 1
        await asyncio.sleep(30)
        assert bench.ends(sounding) == bench.ends(waiting) == ["cancelled"]
        assert bench.told(sounding)[-1].position == pytest.approx(3, abs=0.01)
        assert len(bench.handle.spans) <= 2

    on_bench(work)


def test_quiet_hours_hold_back_what_is_not_loud_and_say_who_overrode_them() -> None:
    night = Profile(quiet=QuietHours.parse("10:00-10:30"))

    async def work(bench: Bench) -> None:
        notice = bench.broadcast("water 10")
        late = bench.broadcast("late 10", ends=600)
        alert = bench.broadcast("storm 10", rank="alert")
        await asyncio.sleep(29 * 60)
        assert heard(bench) == [("storm 10", 0, 10)]
        assert [one.overrode for one in bench.told(alert)] == [None, True, None]
        assert (bench.ends(late), bench.told(late)[-1].reason) == (["skipped"], "expired in quiet hours")
        await asyncio.sleep(2 * 60)
        assert heard(bench)[1:] == [("water 10", 0, 10)]
        assert round(bench.handle.spans[1].begin) == 1800
        assert [one.overrode for one in bench.told(notice)] == [None] * 3

    on_bench(work, profile=night)


TEXT = "洪水来了。请往高处走。不要回家拿东西。"


def test_a_chip_goes_on_at_the_sentence_that_was_cut_off() -> None:
    async def work(bench: Bench) -> None:
        notice = bench.broadcast(TEXT)
        await asyncio.sleep(2.0)
        alert = bench.broadcast("台风。", rank="alert")
        await asyncio.sleep(20)
        said = [span.name for span in bench.handle.spans]
        assert said == ["洪水来了。", "请往高处走。", "台风。", "请往高处走。", "不要回家拿东西。"]
        assert bench.stages(notice) == ["queued", "started", "paused", "resumed", "finished"]
        assert bench.told(notice)[2].reason == "alert goes first, after 1 of 3 sentences"
        assert bench.told(notice)[-1].evidence.startswith("2 sentences: busy")
        assert bench.ends(alert) == ["finished"]

    on_bench(work, Chip)


def test_a_slow_disk_delays_no_sound() -> None:
    async def work(bench: Bench) -> None:
        bench.notes.delay = 30
        bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(1)
        assert bench.handle.sounds

    on_bench(work)
