"""How long a broadcast was heard, as its last receipt says, against what the loudspeaker itself wrote down."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.loudspeaker.bench import Bench, on_bench
from tests.agent.loudspeaker.kit import Chip
from village_wire.events import Receipt


def last(bench: Bench, identity: UUID) -> Receipt:
    return bench.told(identity)[-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.floats(0, 30), st.lists(st.floats(1, 70), max_size=3), st.booleans())
def test_what_is_counted_is_what_was_heard(times: int, pause: float, breaks: list[float], cancelled: bool) -> None:
    async def work(bench: Bench) -> None:
        law = bench.broadcast("law 30", rank="routine", times=times, pause=pause, category="law", ends=86_400)
        for seconds in breaks:
            await asyncio.sleep(seconds)
            bench.broadcast(f"alert {seconds:.1f}", rank="alert")
        if cancelled:
            await asyncio.sleep(5)
            bench.station.cancel(law, "withdrawn")
        await asyncio.sleep(2000)
        sounds = sum(span.end - span.begin for span in bench.handle.spans if span.name == "law 30")
        assert len(bench.ends(law)) == 1
        assert last(bench, law).heard == pytest.approx(sounds, abs=0.2)
        assert last(bench, law).category == "law"

    on_bench(work)


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_setting_the_clock_adds_nothing(jump: float) -> None:
    async def work(bench: Bench) -> None:
        law = bench.broadcast("law 30", category="law", ends=86_400)
        await asyncio.sleep(10)
        bench.shift = jump
        await asyncio.sleep(60)
        assert last(bench, law).heard == pytest.approx(30, abs=0.1)

    on_bench(work)


def test_a_kill_takes_nothing_away_from_a_file() -> None:
    async def work(bench: Bench) -> None:
        law = bench.audio(60, category="law", times=2)
        await asyncio.sleep(80.5)
        await bench.kill()
        await asyncio.sleep(200)
        assert last(bench, law).stage == "finished"
        assert last(bench, law).heard == pytest.approx(120, abs=1.1)

    on_bench(work)


def test_a_chip_s_text_counts_too_and_what_has_no_category_says_nothing() -> None:
    async def work(bench: Bench) -> None:
        law, other = bench.broadcast("十个字的一句话说一遍", category="law"), bench.broadcast("别的")
        await asyncio.sleep(60)
        assert last(bench, law).heard == pytest.approx(2.1, abs=0.2)
        assert (last(bench, other).stage, last(bench, other).heard) == ("finished", None)

    on_bench(work, Chip)


def test_a_playlist_is_heard_in_its_order_even_if_a_later_piece_was_there_first() -> None:
    async def work(bench: Bench) -> None:
        bench.contents.delay = 20
        first = bench.audio(10, starts=30)
        bench.contents.delay = 0
        bench.broadcast("second 5", starts=30)
        third = bench.audio(5, starts=30)
        await asyncio.sleep(200)
        assert len(bench.handle.spans) == 3
        assert bench.handle.spans[1].name == "second 5"
        assert bench.ends(first) == bench.ends(third) == ["finished"]

    on_bench(work)
