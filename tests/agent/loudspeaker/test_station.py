"""One loudspeaker from command to receipt, in fake time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.fake_time import in_fake_time
from tests.agent.loudspeaker.kit import Bench, Chip, Player
from village_agent.loudspeaker.policy import Profile, QuietHours
from village_drivers.kit import NotConnected, Refused
from village_wire.broadcasts import CLASSES


def on_bench(
    work: Callable[[Bench], Awaitable[None]],
    handle: Callable[[], Player | Chip] = Player,
    profile: Profile | None = None,
) -> None:
    """Run a test with a loudspeaker of its own."""

    async def run() -> None:
        bench = Bench(handle(), profile)
        await work(bench)
        await bench.end()

    in_fake_time(run())


def heard(bench: Bench) -> list[tuple[str, float, float]]:
    """Each sound with where it began and ended in its file, to a hundredth of a second."""
    return [
        (span.name, round(span.start, 2), round(span.start + span.end - span.begin, 2)) for span in bench.handle.spans
    ]


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


def test_a_device_that_is_away_is_waited_for_until_the_end() -> None:
    async def work(bench: Bench) -> None:
        bench.away = True
        never, later = bench.broadcast("water 10", ends=60), bench.broadcast("storm 10", ends=3600)
        await asyncio.sleep(120)
        assert bench.stages(never) == ["queued", "queued", "failed"]
        assert bench.told(never)[-1].reason == "expired: the loudspeaker is not there now"
        bench.away = False
        await asyncio.sleep(60)
        assert bench.ends(later) == ["finished"]

    on_bench(work)


def test_an_unplugged_sound_card_goes_on_where_it_was_pulled() -> None:
    async def work(bench: Bench) -> None:
        player = bench.handle
        assert isinstance(player, Player)
        identity = bench.broadcast("water 60")
        await asyncio.sleep(20)
        player.error = NotConnected("program_failed", "alsa: no such device (after 20.00 s)")
        player.unplugged.set()
        await asyncio.sleep(300)
        assert player.tries < 20
        player.error = None
        player.unplugged.clear()
        await asyncio.sleep(100)
        assert heard(bench) == [("water 60", 0, 20), ("water 60", 20, 60)]
        assert bench.stages(identity) == ["queued", "started", "paused", "resumed", "finished"]
        assert "no such device" in bench.told(identity)[2].reason

    on_bench(work)


def test_an_emergency_does_not_wait_for_the_next_try() -> None:
    async def work(bench: Bench) -> None:
        bench.away = True
        bench.broadcast("water 60")
        await asyncio.sleep(300)
        bench.away = False
        flood = bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(1)
        assert bench.stages(flood) == ["queued", "started"]

    on_bench(work)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (Refused("unplayable", "x.opus: it holds no sound"), 1),
        (Refused("rejected", "no"), 3),
        (Refused("busy", "another sound is being played"), 3),
        (ZeroDivisionError(), 3),
    ],
)
def test_what_a_device_refuses_is_not_tried_for_ever(error: Exception, tries: int) -> None:
    async def work(bench: Bench) -> None:
        player = bench.handle
        assert isinstance(player, Player)
        player.error = error
        identity = bench.broadcast("water 60")
        await asyncio.sleep(100)
        assert player.tries == tries
        assert bench.ends(identity) == ["failed"]
        assert bench.told(identity)[-1].reason in {str(error), "fault of the program: ZeroDivisionError"}
        player.error = None
        other = bench.broadcast("storm 5")
        await asyncio.sleep(10)
        assert bench.ends(other) == ["finished"]

    on_bench(work)


def test_a_file_is_heard_when_it_is_there_and_keeps_nobody_waiting() -> None:
    async def work(bench: Bench) -> None:
        bench.contents.delay = 30
        file = bench.audio(10, rank="emergency")
        text = bench.broadcast("water 60")
        await asyncio.sleep(100)
        assert [span[1:] for span in heard(bench)] == [(0, 30), (0, 10), (30, 60)]
        assert bench.stages(file) == ["queued", "fetched", "started", "finished"]
        assert bench.ends(text) == ["finished"]
        bench.contents.fault = "the sound file can't be fetched: no route to host"
        lost = bench.audio(10, ends=60)
        await asyncio.sleep(100)
        assert bench.ends(lost) == ["failed"]
        assert bench.told(lost)[-1].reason == "expired: the sound file can't be fetched: no route to host"
        bench.contents.error = Refused("unplayable", "the text has nothing to speak")
        empty = bench.broadcast("x 1")
        await asyncio.sleep(1)
        assert (bench.ends(empty), bench.told(empty)[-1].reason) == (["failed"], "the text has nothing to speak")

    on_bench(work)


def test_the_amplifier_is_on_before_the_sound_and_off_after_the_last() -> None:
    async def work(bench: Bench) -> None:
        planned = bench.broadcast("water 10", starts=100)
        await asyncio.sleep(200)
        assert bench.relay.switched == [(97, True), (130, False)]
        assert bench.handle.spans[0].begin == pytest.approx(100, abs=0.01)
        bench.broadcast("storm 10")
        await asyncio.sleep(20)
        bench.broadcast("storm 5")
        await asyncio.sleep(100)
        assert bench.relay.switched[2:] == [(200, True), (245, False)]
        # The second one found it on.
        assert [round(span.begin) for span in bench.handle.spans] == [100, 203, 220]
        assert bench.notes.amplifiers == {"relay": False}
        assert bench.told(planned)[-1].evidence == "played 10.00 s"

    on_bench(work, profile=Profile(amplifier="relay", lead_in=3, linger=20))


def test_an_amplifier_that_does_not_answer_is_told_and_silences_nobody() -> None:
    async def work(bench: Bench) -> None:
        bench.relay.error = NotConnected("no_answer", "unit 1 does not answer")
        identity = bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(20)
        evidence = bench.told(identity)[-1].evidence
        assert evidence == "played 10.00 s; amplifier relay can't be switched on: unit 1 does not answer"

    on_bench(work, profile=Profile(amplifier="relay", lead_in=3, linger=20))


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


def test_a_chips_text_that_a_kill_cut_off_has_failed_and_what_waited_is_heard() -> None:
    async def work(bench: Bench) -> None:
        sounding = bench.broadcast(TEXT)
        waiting = bench.broadcast("台风。")
        await asyncio.sleep(2.0)
        await bench.kill()
        await asyncio.sleep(20)
        assert bench.stages(sounding) == ["queued", "started", "failed"]
        assert bench.told(sounding)[-1].reason == "the agent ended while it was spoken; nobody knows how much was heard"
        assert bench.ends(waiting) == ["finished"]
        assert [span.name for span in bench.handle.spans].count("洪水来了。") == 1

    on_bench(work, Chip)


def test_a_file_that_a_kill_cut_off_goes_on_where_it_was_last_noted() -> None:
    async def work(bench: Bench) -> None:
        identity = bench.broadcast("water 60", times=2, pause=10)
        await asyncio.sleep(20.7)
        await bench.kill()
        await asyncio.sleep(200)
        assert heard(bench) == [("water 60", 0, 20.7), ("water 60", 20, 60), ("water 60", 0, 60)]
        assert bench.stages(identity) == ["queued", "started", "resumed", "started", "finished"]

    on_bench(work)


def test_a_slow_disk_delays_no_sound() -> None:
    async def work(bench: Bench) -> None:
        bench.notes.delay = 30
        bench.broadcast("flood 10", rank="emergency")
        await asyncio.sleep(1)
        assert bench.handle.sounds

    on_bench(work)


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[float, str, int, str, int]]:
    """When, what class, how often, which text, how long it counts."""
    return [
        (
            draw(st.integers(0, 400)) / 10,
            draw(st.sampled_from(CLASSES)),
            draw(st.integers(1, 3)),
            f"{number} {draw(st.integers(1, 15))}",
            draw(st.integers(5, 200)),
        )
        for number in range(draw(st.integers(1, 6)))
    ]


@settings(max_examples=60)
@given(plans(), st.lists(st.integers(1, 800), max_size=3))
def test_whatever_comes_and_whenever_it_is_killed_each_broadcast_is_heard_in_order_and_ends_once(
    plan: list[tuple[float, str, int, str, int]], kills: list[int]
) -> None:
    async def work(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        found: dict[UUID, tuple[str, int]] = {}
        deeds: list[tuple[float, tuple[float, str, int, str, int] | None]] = [(one[0], one) for one in plan]
        deeds += [(kill / 10 + 0.05, None) for kill in kills]
        for time, deed in sorted(deeds, key=lambda one: one[0]):
            await asyncio.sleep(max(0.0, time - loop.time()))
            if deed is None:
                await bench.kill()
            else:
                _, rank, times, text, ends = deed
                found[bench.broadcast(text, rank=rank, times=times, ends=ends)] = text, times
        await asyncio.sleep(600)
        for identity, (text, times) in found.items():
            length = bench.handle.lengths[text]  # type: ignore[union-attr]
            (end,) = bench.ends(identity)
            spans = [
                (span.start, span.start + span.end - span.begin) for span in bench.handle.spans if span.name == text
            ]
            plays = 0
            reached = length
            for start, until in spans:
                if start == 0 and reached >= length - 0.11:
                    plays, reached = plays + 1, 0.0
                # A kill takes back what was not noted, a second at the most; nothing is left out.
                assert reached - 1.1 <= start <= reached + 0.01
                reached = max(reached, until)
            if end == "finished" and not bench.told(identity)[-1].reason:
                assert plays == times
                assert reached == pytest.approx(length, abs=0.11)
            assert plays <= times

    on_bench(work)
