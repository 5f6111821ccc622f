"""Tracks over a cable; what counts is what left the loudspeaker."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.drivers.dfplayer.boards import QUICK, make_driver, site, until
from tests.drivers.recorder import NoServices, Recorder
from village_drivers.abilities import abilities_of
from village_drivers.kit import NotConnected, Refused
from village_drivers.registry import DRIVERS


def test_registered_as_a_player_of_tracks_that_does_not_speak() -> None:
    driver = DRIVERS["dfplayer"].load()
    config = driver.Config.model_validate({"id": "horn-1", "driver": "dfplayer", "port": "/dev/ttyUSB0"})
    devices = driver(config, NoServices()).devices()
    assert devices["horn-1"].kind == "loudspeaker"
    assert abilities_of(devices["horn-1"].handle) == ("track_player",)


@pytest.mark.parametrize("wrong", [{"volume": 101}, {"medium": "nor"}, {"gap_seconds": 0}, {"baudrate": 9600}])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_driver("/dev/ttyUSB0", **wrong)


@pytest.mark.parametrize(
    ("faults", "evidence"),
    [
        ((), "acknowledged, played .* s, end reported"),
        (("finished-twice",), "acknowledged, played .* s, end reported"),
        (("no-finished",), r"acknowledged, played .* s, stopped by its status \(this board reports no end\)"),
        (("no-acknowledgement",), "not acknowledged, played .* s, end reported"),
        (("no-acknowledgement", "no-finished"), "not acknowledged, played .* s, stopped by its status .*"),
    ],
)
async def test_a_track_is_played_with_evidence_on_every_kind_of_board(faults: tuple[str, ...], evidence: str) -> None:
    async with site(*faults) as s:
        said = await s.driver.play_track(1, 1, 50)
        assert re.fullmatch(f"track 1 of folder 1 {evidence}", said)
        assert s.heard == [("01", 1)]
        assert s.board.played[0].volume == 15
        await s.driver.play_track(0, 1, None)
        assert s.heard == [("01", 1), ("mp3", 1)]
        assert s.board.played[1].volume == 24


async def test_a_folder_of_many_tracks() -> None:
    async with site() as s:
        await s.driver.play_track(2, 300, 100)
        assert s.heard == [("02", 300)]
        assert s.board.played[0].volume == 30


async def test_readings_follow_the_sound_and_are_repeated() -> None:
    async with site() as s:
        await s.driver.play_track(1, 1, 50)
        assert {"busy": True, "volume_percent": 50.0} in s.report.fields
        await s.report.until(lambda: {"busy": False, "volume_percent": 80.0} in s.report.fields[3:])
        await s.state("ok", "works")
        assert "7 files on its card" in s.report.history[-1][2]


async def test_one_track_at_a_time_and_in_order() -> None:
    async with site("finished-twice") as s:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for number in (1, 2, 1):
                group.create_task(s.driver.play_track(1, number, None))
        assert s.heard == [("01", 1), ("01", 2), ("01", 1)]


@pytest.mark.parametrize(("folder", "number"), [(3, 1), (1, 9), (0, 7)])
async def test_a_track_that_is_not_on_the_card(folder: int, number: int) -> None:
    async with site() as s:
        with pytest.raises(Refused) as caught:
            await s.driver.play_track(folder, number, None)
        assert caught.value.code == "track_missing"
        assert "no such track" in str(caught.value)
        assert s.heard == []
        await s.state("ok", "works")


async def test_a_track_that_no_card_holds() -> None:
    async with site() as s:
        with pytest.raises(Refused) as caught:
            await s.driver.play_track(100, 1, None)
        assert caught.value.code == "track_missing"


async def test_stop_ends_a_track_and_those_that_wait() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        waiting = asyncio.create_task(s.driver.play_track(1, 1, None))
        await s.playing()
        async with asyncio.timeout(2):
            await s.driver.stop()
        assert not s.board.busy
        for task in (playing, waiting):
            with pytest.raises(Refused) as caught:
                await task
            assert caught.value.code == "silenced"
        assert s.heard == []
        await s.driver.stop()


async def test_a_cancelled_track_falls_silent() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        await until(lambda: not s.board.busy, seconds=2)
        await s.driver.play_track(0, 1, None)
        assert s.heard == [("mp3", 1)]


async def test_cancelled_at_any_moment_leaves_a_usable_board() -> None:
    async with site() as s:
        for steps in range(25):
            playing = asyncio.create_task(s.driver.play_track(1, 2, None))
            await asyncio.sleep(steps * 0.008)
            playing.cancel()
            await asyncio.wait({playing})
        await until(lambda: not s.board.busy)
        s.board.played.clear()
        assert await s.driver.play_track(0, 1, None)
        assert s.heard[-1:] == [("mp3", 1)]


async def test_what_played_before_is_no_proof() -> None:
    async with site() as s:
        await s.driver.play_track(1, 1, None)
        s.board._speed = 0.01
        s.board.hear(bytes.fromhex("7E FF 06 03 00 00 02 FE F6 EF"), asyncio.get_running_loop().time())
        s.board.errors.extend([5] * 9)
        with pytest.raises(Refused):
            await s.driver.play_track(1, 1, None)
        assert s.heard == [("01", 1)]


@pytest.mark.parametrize("error", [1, 3, 4])
async def test_an_error_that_passes_is_tried_again(error: int) -> None:
    async with site() as s:
        s.board.errors.extend([error] * 2)
        await s.driver.play_track(1, 1, None)
        assert s.heard == [("01", 1)]


@pytest.mark.parametrize(
    ("error", "code"), [(2, "rejected"), (5, "track_missing"), (8, "card_failed"), (10, "rejected"), (77, "rejected")]
)
async def test_other_errors_are_told(error: int, code: str) -> None:
    async with site() as s:
        # The first is the answer to the volume.
        s.board.errors.extend([error] * 2)
        with pytest.raises(Refused, match=f"error {error}") as caught:
            await s.driver.play_track(1, 1, None)
        assert caught.value.code == code


async def test_without_a_line() -> None:
    driver = make_driver("/nonexistent/tty", QUICK)
    for act in (driver.play_track(1, 1, None), driver.stop()):
        with pytest.raises(NotConnected):
            await act


async def test_what_a_killed_program_left_playing_falls_silent() -> None:
    async with site(speed=1) as s:
        s.run.cancel()
        await asyncio.wait({s.run})
        s.board.hear(bytes.fromhex("7E FF 06 0F 00 01 03 FE E8 EF"), asyncio.get_running_loop().time())
        assert s.board.busy
        again = asyncio.create_task(make_driver(s.cable.a).run(Recorder()))
        await until(lambda: not s.board.busy, seconds=3)
        again.cancel()
        await asyncio.wait({again})
    assert [(played.folder, played.complete) for played in s.board.played] == [("01", False)]
