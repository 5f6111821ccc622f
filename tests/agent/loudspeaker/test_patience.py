"""Loudspeakers that are away, and sounds that are late or refused: waited for, or given up."""

from __future__ import annotations

import asyncio

import pytest

from tests.agent.loudspeaker.bench import Bench, heard, on_bench
from tests.agent.loudspeaker.kit import Player
from village_drivers.kit import NotConnected, Refused


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
