"""Tracks of a loudspeaker's own card: a board in fake time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.agent.loudspeaker.bench import Bench, with_bench
from village_agent.loudspeaker.policy import Profile, QuietHours
from village_agent.loudspeaker.scripts import TrackScript
from village_agent.loudspeaker.surroundings import Prepared
from village_drivers.abilities import abilities_of
from village_drivers.kit import NotConnected, Refused
from village_wire.broadcasts import Track

#: How long the board takes to find a track.
SEARCH = 0.5
OFF = "the agent was off when its time ended"
CUT_OFF = "the agent ended while it sounded, and nobody knows how much was heard then"
FROM_ITS_BEGINNING = "from its beginning, since a track can't go on where it stopped"


@dataclass
class Board:
    """Track n of each folder sounds n seconds, up to 99; others are missing."""

    on_busy: Callable[[], None] = lambda: None
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    volumes: list[float | None] = field(default_factory=list)
    error: Exception | None = None
    sounds: bool = False
    tries: int = 0

    async def play_track(self, folder: int, number: int, volume: float | None) -> str:
        assert not self.sounds, "two tracks at once"
        self.tries += 1
        await asyncio.sleep(SEARCH)
        if self.error is not None:
            raise self.error
        if number > 99:
            raise Refused("track_missing", "the card has no such track")
        now = asyncio.get_running_loop().time
        begun, self.sounds = now(), True
        self.on_busy()
        try:
            await asyncio.sleep(number)
            return f"played {number} s, end reported"
        finally:
            self.sounds = False
            self.volumes.append(volume)
            self.spans.append((f"{folder}/{number}", round(begun, 1), round(now(), 1)))

    async def stop(self) -> None:
        return


class TrackBench(Bench):
    """A station whose loudspeaker is a board."""

    def __init__(self, profile: Profile | None = None) -> None:
        self.board = Board()
        super().__init__(self.board, profile)  # type: ignore[arg-type]

    def _begin(self) -> Any:
        station = super()._begin()
        self.contents.prepare = self._prepared  # type: ignore[method-assign]
        # As `FileContents.problem` tells of tracks.
        self.contents.fault = OFF
        self.board.on_busy = station.is_busy
        return station

    async def _prepared(self, stored: Any, *, chime: bool) -> Prepared:
        track = stored.broadcast.track
        return Prepared(TrackScript(track.folder, track.number), Path("chime") if chime else None)

    def track(self, number: int, folder: int = 1, **more: Any) -> UUID:
        return self.broadcast(track=Track(folder=folder, number=number), **more)

    def reasons(self, identity: UUID) -> list[tuple[str, str]]:
        return [(one.stage, one.reason) for one in self.told(identity)]


def on_bench(work: Callable[[TrackBench], Awaitable[None]], profile: Profile | None = None) -> None:
    with_bench(lambda: TrackBench(profile), work)


def test_the_board_of_these_tests_is_one() -> None:
    assert abilities_of(Board()) == ("track_player",)


def test_a_track_is_heard_told_from_when_it_sounds_with_no_chime_and_the_volume_of_its_class() -> None:
    async def work(bench: TrackBench) -> None:
        one = bench.track(10, folder=2, rank="alert", chime=True, times=2, pause=5, category="fire")
        await asyncio.sleep(40)
        assert bench.stages(one) == ["queued", "started", "started", "finished"]
        last = bench.told(one)[-1]
        assert (last.evidence, last.position) == ("played 10 s, end reported", None)
        assert last.heard == pytest.approx(20, abs=0.2)
        assert [(name, end - begin) for name, begin, end in bench.board.spans] == [("2/10", 10)] * 2
        assert bench.board.volumes == [90, 90]
        started = next(event for event in bench.notes.receipts if getattr(event.data, "stage", "") == "started")
        assert started.time.timestamp() == pytest.approx(bench.now() - 40 + SEARCH, abs=0.1)

    on_bench(work, Profile(volumes={"alert": 90}, chimes=frozenset({"alert"})))


def test_what_was_interrupted_begins_again_and_says_so() -> None:
    async def work(bench: TrackBench) -> None:
        music = bench.track(30, rank="background")
        await asyncio.sleep(10)
        alert = bench.track(5, rank="alert")
        await asyncio.sleep(60)
        assert [name for name, _, _ in bench.board.spans] == ["1/30", "1/5", "1/30"]
        assert bench.board.spans[2][2] - bench.board.spans[2][1] == 30
        assert bench.reasons(music)[2:] == [
            ("paused", "alert goes first; it will begin again, since a track can't go on where it stopped"),
            ("resumed", FROM_ITS_BEGINNING),
            ("finished", ""),
        ]
        assert {one.position for one in bench.told(music)} == {None}
        assert bench.ends(alert) == ["finished"]

    on_bench(work)


def test_twins_are_merged_and_other_folders_are_not() -> None:
    async def work(bench: TrackBench) -> None:
        first = bench.track(3, folder=9)
        await asyncio.sleep(1)
        other, twin = bench.track(5, folder=2), bench.track(5, folder=2)
        third = bench.track(5, folder=3)
        await asyncio.sleep(60)
        assert [name for name, _, _ in bench.board.spans] == ["9/3", "2/5", "3/5"]
        assert bench.ends(twin) == ["skipped"]
        assert f"merged with {other}" in bench.told(twin)[-1].reason
        assert bench.ends(first) == bench.ends(third) == ["finished"]

    on_bench(work)


def test_quiet_hours_hold_it_back_and_an_emergency_overrides_them() -> None:
    async def work(bench: TrackBench) -> None:
        routine, emergency = bench.track(5, rank="routine", ends=600), bench.track(5, rank="emergency", folder=2)
        await asyncio.sleep(700)
        assert bench.stages(emergency) == ["queued", "started", "finished"]
        assert bench.told(emergency)[1].overrode
        assert bench.reasons(routine)[-1] == ("skipped", "expired in quiet hours")

    on_bench(work, Profile(quiet=QuietHours.parse("09:00-12:00")))


def test_killed_while_it_sounds_it_begins_again_and_says_what_nobody_knows() -> None:
    async def work(bench: TrackBench) -> None:
        one = bench.track(30, category="music")
        await asyncio.sleep(12)
        await bench.kill()
        await asyncio.sleep(60)
        assert bench.reasons(one) == [
            ("queued", ""),
            ("started", ""),
            ("resumed", f"{FROM_ITS_BEGINNING}; {CUT_OFF}"),
            ("finished", ""),
        ]
        # Never more than what was heard for certain.
        assert bench.told(one)[-1].heard == pytest.approx(30, abs=0.2)

    on_bench(work)


def test_killed_and_off_beyond_its_end_nobody_knows_how_much_was_heard() -> None:
    async def work(bench: TrackBench) -> None:
        one = bench.track(30, ends=60)
        await asyncio.sleep(12)
        bench.shift = 100
        await bench.kill()
        await asyncio.sleep(60)
        assert bench.reasons(one)[-1] in {
            ("preempted", f"its time ended; {CUT_OFF}"),
            ("failed", f"expired: {OFF}; {CUT_OFF}"),
        }
        assert len(bench.board.spans) == 1

    on_bench(work)


def test_a_missing_track_fails_at_once_and_a_board_that_is_away_is_tried_again() -> None:
    async def work(bench: TrackBench) -> None:
        missing = bench.track(100)
        await asyncio.sleep(5)
        assert bench.reasons(missing)[-1] == ("failed", "the card has no such track")
        assert (bench.stages(missing), bench.board.tries) == (["queued", "failed"], 1)
        bench.board.error = NotConnected("no_answer", "no answer to 3 status queries")
        late = bench.track(5)
        await asyncio.sleep(10)
        bench.board.error = None
        await asyncio.sleep(60)
        assert bench.reasons(late)[1] == ("queued", "waits for the loudspeaker: no answer to 3 status queries")
        assert bench.ends(late) == ["finished"]

    on_bench(work)


def test_somebody_pauses_the_board_again_and_again() -> None:
    async def work(bench: TrackBench) -> None:
        bench.board.error = Refused("interrupted", "somebody paused the board")
        one = bench.track(5)
        await asyncio.sleep(300)
        assert bench.reasons(one)[-1] == ("failed", "somebody paused the board")
        assert bench.board.tries == 3

    on_bench(work)


def test_taken_away_while_it_sounds_it_falls_silent() -> None:
    async def work(bench: TrackBench) -> None:
        one = bench.track(30)
        await asyncio.sleep(10)
        assert bench.station.cancel(one, "withdrawn")
        await asyncio.sleep(0.5)
        assert not bench.board.sounds
        assert bench.reasons(one)[-1] == ("cancelled", "withdrawn")

    on_bench(work)
