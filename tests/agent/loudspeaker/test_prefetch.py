"""Sounds of programmes: fetched ahead, kept while needed, and none keeps another away."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.agent.kit import running, until
from village_agent.loudspeaker.prefetch import Prefetch
from village_wire.broadcasts import Audio, Class


def sound(letter: str) -> Audio:
    return Audio(sha256=letter * 64, bytes=10, seconds=1, token="t")


class Cache:
    """Has what `there` names; waits for the rest."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.pins: Counter[str] = Counter()

    async def get(self, audio: Audio, rank: Class) -> Path:
        assert rank == "background", "a broadcast goes before"
        self.asked[audio.sha256[0]] += 1
        while audio.sha256[0] not in self.there:
            await asyncio.sleep(0.005)
        return Path(audio.sha256)

    def pin(self, name: str) -> None:
        self.pins[name[0]] += 1

    def unpin(self, name: str) -> None:
        self.pins[name[0]] -= 1


async def test_what_is_missing_keeps_nobody_away_and_what_is_there_is_not_asked_for_again() -> None:
    cache = Cache()
    made = Prefetch(cache, cache)
    made.want([sound("a"), sound("b"), sound("b")])
    cache.there = {"b"}
    async with running(made.run()):
        await until(lambda: made.missing == 1)
        made.want([sound("b"), sound("a"), sound("c")])
        cache.there = {"a", "b", "c"}
        await until(lambda: made.missing == 0)
        assert cache.asked["b"] == 1
        made.want([sound("c")])
    assert {name for name, count in cache.pins.items() if count} == {"c"}
    assert max(cache.pins.values()) == 1


async def test_a_file_that_never_comes_gives_up_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache()
    made = Prefetch(cache, cache)
    made._turns = asyncio.Semaphore(1)
    cache.there = {"b"}
    made.want([sound("a"), sound("b")])
    monkeypatch.setattr("village_agent.loudspeaker.prefetch.TURN_SECONDS", 0.02)
    async with running(made.run()):
        await until(lambda: made.missing == 1)
        await until(lambda: cache.asked["a"] > 1)
