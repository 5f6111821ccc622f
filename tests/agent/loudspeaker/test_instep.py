"""Broadcasts with a start time, in fake time: when chime and content begin, and what else may happen before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

import pytest

from tests.agent.loudspeaker.bench import Bench
from tests.agent.loudspeaker.bench import on_bench as on_any_bench
from tests.agent.loudspeaker.kit import BEGIN, Chip, Player, PunctualPlayer
from village_agent.loudspeaker.chimes import chime_seconds
from village_agent.loudspeaker.policy import Profile, QuietHours

on_bench = partial(on_any_bench, handle=PunctualPlayer)
CHIMES = Profile(chimes=frozenset({"notice"}))


def spans(bench: Bench) -> list[tuple[str, float]]:
    return [(span.name, round(span.begin, 2)) for span in bench.handle.spans]


def test_the_content_begins_at_the_start_time() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 10", starts=60)
        await asyncio.sleep(80)
        assert spans(bench) == [("water 10", 60)]
        started = next(
            event for event in bench.notes.receipts if event.data.kind == "receipt" and event.data.stage == "started"
        )
        assert started.time.timestamp() == pytest.approx(BEGIN.timestamp() + 60, abs=0.001)
        assert bench.ends(identity) == ["finished"]

    on_bench(work)


def test_the_chime_is_counted_back_from_it() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60, chime=True)
        await asyncio.sleep(80)
        assert spans(bench) == [("chime", round(60 - 1.2 - chime_seconds("notice"), 2)), ("water 10", 60)]

    on_bench(work, profile=CHIMES)


def test_the_amplifier_is_on_before_the_chime() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60, chime=True)
        await asyncio.sleep(100)
        taken_up = 60 - 2.4 - chime_seconds("notice")
        assert bench.relay.switched[0] == (round(taken_up - 3, 2), True)
        assert spans(bench)[1] == ("water 10", 60)

    on_bench(work, profile=Profile(chimes=CHIMES.chimes, amplifier="relay", lead_in=3.0, linger=5.0))


@pytest.mark.parametrize("handle", [Player, Chip])
def test_what_can_not_begin_at_a_moment_begins_no_sooner(handle: Callable[[], Player | Chip]) -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60)
        await asyncio.sleep(100)
        assert [begin for _, begin in spans(bench)] == [60]

    on_bench(work, handle=handle)


def test_what_comes_late_begins_at_once() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=-5)
        bench.broadcast("storm 10", starts=10.5, rank="alert")
        await asyncio.sleep(40)
        # The other one is silent while it waits for its moment.
        assert spans(bench) == [("water 10", 0), ("storm 10", 10.5), ("water 10", 20.5)]

    on_bench(work)


def test_a_kill_while_it_waits_for_its_moment_changes_nothing() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 10", starts=60)
        await asyncio.sleep(59.5)
        await bench.kill()
        await asyncio.sleep(30)
        assert spans(bench) == [("water 10", 60)]
        assert bench.ends(identity) == ["finished"]

    on_bench(work)


def test_an_emergency_while_it_waits_for_its_moment_is_heard_first() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60)
        await asyncio.sleep(59)
        bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(30)
        assert [name for name, _ in spans(bench)] == ["flood 10", "water 10"]
        assert spans(bench)[0][1] == pytest.approx(59, abs=0.1)
        assert spans(bench)[1][1] == pytest.approx(69, abs=0.1)

    on_bench(work)


def test_the_end_of_quiet_hours_is_a_start_time_like_any_other() -> None:
    async def work(bench: Bench) -> None:
        start = datetime(2026, 11, 25, 6, tzinfo=BEGIN.tzinfo)
        seconds = (start - BEGIN).total_seconds()
        identity = bench.broadcast("water 10", starts=seconds, ends=seconds + 60, chime=True)
        await asyncio.sleep(seconds + 30)
        assert spans(bench)[1] == ("water 10", seconds)
        assert bench.told(identity)[-1].overrode is not True

    on_bench(work, profile=Profile(quiet=QuietHours.parse("22:00-06:00"), chimes=CHIMES.chimes))


@pytest.mark.parametrize("ending", [0.0, 0.6])
def test_a_second_time_is_in_step_too_however_long_a_player_takes_to_end(ending: float) -> None:
    async def work(bench: Bench) -> None:
        assert isinstance(bench.handle, PunctualPlayer)
        bench.handle.ending = ending
        bench.broadcast("water 10", starts=60, times=3, pause=20)
        await asyncio.sleep(200)
        assert spans(bench) == [("water 10", 60), ("water 10", 90), ("water 10", 120)]

    on_bench(work)


def test_a_pause_that_is_too_short_to_begin_together_is_longer() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60, times=3)
        await asyncio.sleep(200)
        assert spans(bench) == [("water 10", 60), ("water 10", 72), ("water 10", 84)]

    on_bench(work)


def test_a_second_time_is_in_step_again_after_an_interruption() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60, times=2, pause=20)
        await asyncio.sleep(65)
        bench.broadcast("flood 5", rank="emergency")
        await asyncio.sleep(100)
        assert spans(bench)[-1] == ("water 10", 90)

    on_bench(work)


@pytest.mark.parametrize("shift", [-3600.0, 3600.0])
def test_a_clock_that_is_set_between_two_times_keeps_nobody_silent(shift: float) -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60, times=2, pause=20, ends=86_400)
        await asyncio.sleep(75)
        bench.shift = shift
        bench.station.wake()
        await asyncio.sleep(60)
        assert [name for name, _ in spans(bench)] == ["water 10", "water 10"]
        assert spans(bench)[1][1] == pytest.approx(90, abs=2.5)

    on_bench(work)


def test_the_time_is_asked_for_anew_before_each_beginning_and_for_nothing_else() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("siren 5", starts=600, times=2, pause=300)
        bench.broadcast("at once 5")
        await asyncio.sleep(1000)
        asked = [(round(at), round(at + seconds)) for at, seconds in bench.sharpened]
        # Taken up 1.2 s before its start, as the player wants it.
        assert asked == [(479, 599), (784, 904)]

    on_bench(work)


def test_the_time_is_asked_for_once_for_all_that_begins_together_and_again_after_the_clock_was_set() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("first 5", starts=60)
        bench.broadcast("second 5", starts=60)
        await asyncio.sleep(10)
        assert len(bench.sharpened) == 1
        bench.shift = -3600
        bench.station.wake()
        await asyncio.sleep(3600)
        assert len(bench.sharpened) == 2

    on_bench(work)


def test_nobody_asks_for_a_better_time_for_what_can_not_begin_at_a_moment() -> None:
    async def work(bench: Bench) -> None:
        bench.broadcast("water 10", starts=60)
        await asyncio.sleep(100)
        assert spans(bench) == [("water 10", 60)]
        assert bench.sharpened == []

    on_bench(work, handle=Player)
