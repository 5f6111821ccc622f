"""Cards, cables, noise and dead boards: the driver tells the truth and recovers."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

import pytest

from tests.drivers.dfplayer.boards import QUICK, make_driver, site, until
from tests.drivers.recorder import Recorder, running
from village_drivers.kit import NotConnected, Refused
from village_emulators.line import Cable


async def test_a_board_without_a_card_is_down_until_one_is_put_in() -> None:
    async with site("no-card", wanted="card_missing") as s:
        assert s.report.history[-1][0] == "down"
        with pytest.raises(Refused) as caught:
            await s.driver.play_track(1, 1, None)
        assert caught.value.code == "card_missing"
        await s.board.insert_card()
        await s.state("ok", "works")
        await s.driver.play_track(1, 1, None)
        assert s.heard == [("01", 1)]


async def test_a_card_that_is_put_in_without_a_word_is_found() -> None:
    async with site("no-card", wanted="card_missing") as s:
        s.board.faults.clear()
        await s.state("ok", "works")


async def test_a_card_that_is_pulled_out_while_it_plays() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        await s.board.pull_card()
        with pytest.raises(Refused) as caught:
            await playing
        assert caught.value.code == "card_missing"
        await s.state("down", "card_missing")
        await s.board.insert_card()
        await s.state("ok", "works")


async def test_a_card_that_can_not_be_read() -> None:
    async with site("card-unreadable") as s:
        with pytest.raises(Refused) as caught:
            await s.driver.play_track(1, 1, None)
        assert caught.value.code == "card_failed"
        await s.state("down", "card_failed")
        s.board.faults.clear()
        await s.driver.play_track(1, 1, None)
        await s.state("ok", "works")


async def test_noise_degrades_and_passes() -> None:
    async with site("noise", wanted="noise") as s:
        await s.state("degraded", "noise")
        await s.driver.play_track(1, 1, None)
        assert s.heard == [("01", 1)]
        s.board.faults.clear()
        await s.state("ok", "works")


async def test_burst_of_noise_while_it_plays() -> None:
    burst = os.urandom(32 * 1024)
    async with site(speed=5) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 1, None))
        await s.playing()
        rest = memoryview(burst)
        async with asyncio.timeout(10):
            while rest:
                rest = rest[s.cable.inject(bytes(rest[:4096]), into=s.cable.a) :]
                await asyncio.sleep(0)
            await playing
        assert s.heard == [("01", 1)]


async def test_a_report_of_an_end_that_is_none_ends_no_track() -> None:
    async with site(speed=5) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 1, None))
        await s.playing()
        s.cable.inject(bytes.fromhex("7E FF 06 3D 00 00 01 FE BD EF"), into=s.cable.a)
        await playing
        assert s.heard == [("01", 1)]


async def test_a_silent_board() -> None:
    async with site() as s:
        s.board.faults.add("silent")
        with pytest.raises(NotConnected) as caught:
            await s.driver.play_track(1, 1, None)
        assert caught.value.code == "no_answer"
        with pytest.raises(NotConnected):
            await s.run


async def test_a_board_that_was_never_there() -> None:
    async with Cable() as cable:
        report = Recorder()
        with pytest.raises(NotConnected) as caught:
            await make_driver(cable.a).run(report)
        assert caught.value.code == "no_answer"
        assert report.history == []


async def test_a_wire_cut_while_it_plays_and_mended() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        s.cable.cut(True)
        with pytest.raises(NotConnected) as caught:
            await playing
        assert caught.value.code == "no_answer"
        with pytest.raises(NotConnected):
            await s.run
        s.cable.cut(False)
        s.report.history.clear()
        async with running(s.driver, s.report):
            await s.state("ok", "works")
            await until(lambda: not s.board.busy)
            s.board._speed = 20
            await s.driver.play_track(1, 1, None)
            assert s.heard == [("01", 1)]


async def test_unplugged_while_it_plays() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        waiting = asyncio.create_task(s.driver.play_track(1, 1, None))
        await s.playing()
        s.cable.unplug()
        for broken in (playing, waiting, s.run):
            with pytest.raises(NotConnected) as caught:
                async with asyncio.timeout(2):
                    await broken
            assert caught.value.code == "line_closed"


async def test_a_board_that_restarts_while_it_plays() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        await s.board.restart()
        with pytest.raises(Refused) as caught:
            await playing
        assert caught.value.code == "power_fault"


async def test_a_board_that_somebody_pauses() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        await s.board.pause()
        with pytest.raises(Refused, match="paused") as caught:
            await playing
        assert caught.value.code == "interrupted"
        s.board._speed = 20
        await s.driver.play_track(1, 1, None)
        assert s.heard == [("01", 1)]


async def test_a_board_that_never_ends() -> None:
    async with site(speed=0.001, timing=replace(QUICK, limit=0.3)) as s:
        with pytest.raises(Refused, match="still reports"):
            await s.driver.play_track(1, 1, None)
        await until(lambda: not s.board.busy)


async def test_the_driver_is_stopped_while_it_plays() -> None:
    async with site(speed=1) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 3, None))
        await s.playing()
        s.run.cancel()
        with pytest.raises(NotConnected, match="stopped"):
            await playing
        await until(lambda: not s.board.busy)


@pytest.mark.parametrize("moment", range(0, 40, 5))
async def test_every_task_ends_whenever_the_plug_is_pulled(moment: int) -> None:
    async with site(speed=200) as s:
        playing = asyncio.create_task(s.driver.play_track(1, 2, None))
        await asyncio.sleep(moment / 100)
        s.cable.unplug()
        async with asyncio.timeout(5):
            await asyncio.wait({playing, s.run})
        assert playing.exception() is None or isinstance(playing.exception(), NotConnected)
        assert isinstance(s.run.exception(), NotConnected)


async def test_a_board_dies_and_comes_back() -> None:
    """The emulator runs as a program, is killed while it plays, and is started again."""
    async with Cable() as cable, asyncio.timeout(25):

        async def start() -> asyncio.subprocess.Process:
            program = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "village_emulators.dfplayer", cable.b, "--speed", "10", "--fault", "no-finished",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert program.stdout
            assert b"ready" in await program.stdout.readline()
            return program

        driver, report = make_driver(cable.a), Recorder()
        program = await start()
        try:
            with pytest.raises(NotConnected) as caught:
                async with running(driver, report) as run:
                    await report.until(lambda: report.history != [])
                    playing = asyncio.create_task(driver.play_track(2, 1, None))
                    await report.until(lambda: report.fields[-1]["busy"] is True)
                    program.kill()
                    await program.communicate()
                    with pytest.raises(NotConnected):
                        await playing
                    await run
            assert caught.value.code == "no_answer"
            program = await start()
            report.history.clear()
            async with running(driver, report):
                await report.until(lambda: report.history != [])
                await driver.play_track(1, 1, None)
                assert program.stdout
                assert '"folder": "01", "number": 1' in (await program.stdout.readline()).decode()
        finally:
            if program.returncode is None:
                program.kill()
            await program.communicate()
