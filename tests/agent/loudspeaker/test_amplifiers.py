"""Amplifiers are on before the sound and off after the last."""

from __future__ import annotations

import asyncio

import pytest

from tests.agent.loudspeaker.bench import Bench, on_bench
from village_agent.loudspeaker.policy import Profile
from village_drivers.kit import NotConnected


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
