"""Stations that are killed: what had begun goes on at the last noted position, and everything ends once."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.loudspeaker.bench import Bench, heard, on_bench
from tests.agent.loudspeaker.kit import Chip
from village_wire.broadcasts import CLASSES

TEXT = "洪水来了。请往高处走。不要回家拿东西。"


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
