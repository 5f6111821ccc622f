"""Noise, cut wires, pulled plugs and dead chips: the drivers tell the truth and recover."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace

import pytest

from tests.drivers.recorder import Recorder, running
from tests.drivers.speech.sites import KINDS, QUICK, Kind, make_driver, site, until
from village_drivers.kit import NotConnected, Refused
from village_emulators.line import Cable

both = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

LONG = "各位村民请注意，今天夜间有大到暴雨。" * 12


@both
async def test_byte_by_byte(kind: Kind) -> None:
    async with site(kind, speed=100, drip=True) as s:
        await s.driver.say(LONG, None)
        assert "".join(s.heard) == LONG
        assert ("degraded", "noise") not in [state[:2] for state in s.report.history]


@both
async def test_noise_degrades_and_passes(kind: Kind) -> None:
    async with site(kind) as s:
        s.cable.inject(b"\x00\xff\x80\x17\x55", into=s.cable.a)
        await s.report.until(lambda: s.report.history[-1][:2] == ("degraded", "noise"))
        assert s.report.history[-1][2].startswith("5 bytes")
        await s.driver.say("好", None)
        await s.report.until(lambda: s.report.history[-1][:2] == ("ok", "works"))
        assert s.heard == ["好"]


@both
async def test_one_stray_byte_is_no_noise(kind: Kind) -> None:
    async with site(kind) as s:
        s.cable.inject(b"\x00", into=s.cable.a)
        before = len(s.emulator.frames)
        await until(lambda: len(s.emulator.frames) > before + 2)
        assert {state[0] for state in s.report.history} == {"ok"}


@both
@pytest.mark.parametrize(
    "fake", [b"\x4f", b"\x4a", b"\x45", b"\x41\x4f\x4a\x45\x4e" * 20], ids=["idle", "ready", "rejected", "all"]
)
async def test_noise_that_looks_like_a_reply_ends_no_text(kind: Kind, fake: bytes) -> None:
    async with site(kind, speed=5) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知请立即转移", None))
        await s.speaking()
        s.cable.inject(fake, into=s.cable.a)
        await saying
        assert [(spoken.text, spoken.complete) for spoken in s.emulator.spoken] == [("紧急通知请立即转移", True)]


@both
async def test_burst_of_noise(kind: Kind) -> None:
    burst = os.urandom(64 * 1024)
    async with site(kind, speed=5) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知请立即转移", None))
        await s.speaking()
        rest = memoryview(burst)
        async with asyncio.timeout(10):
            while rest:
                rest = rest[s.cable.inject(bytes(rest[:4096]), into=s.cable.a) :]
                await asyncio.sleep(0)
            await saying
        assert s.heard[-1] == "紧急通知请立即转移"
        await s.report.until(lambda: s.report.history[-1][:2] == ("degraded", "noise"))
        await s.report.until(lambda: s.report.history[-1][:2] == ("ok", "works"))


@both
async def test_noise_towards_the_chip(kind: Kind) -> None:
    """A frame whose start is lost in noise is not accepted; the driver sends it again."""
    async with site(kind, timing=replace(QUICK, poll=60)) as s:
        s.cable.inject(b"\xfd\x00\x05", into=s.cable.b)
        await s.driver.say("紧急通知", None)
        assert s.heard[-1] == "紧急通知"


@both
async def test_a_text_of_somebody_else_is_no_proof(kind: Kind) -> None:
    async with site(kind, timing=replace(QUICK, poll=60), speed=1) as s:
        s.cable.inject(s.driver.chip.say("村" * 90, "gbk"), into=s.cable.b)
        await s.speaking()
        s.emulator.reject = 100
        with pytest.raises(Refused):
            await s.driver.say("好", None)
        assert s.heard == []


@both
async def test_silent_chip(kind: Kind) -> None:
    async with site(kind, timing=replace(QUICK, poll=60)) as s:
        s.emulator.deaf = True
        with pytest.raises(NotConnected) as caught:
            await s.driver.say("好", None)
        assert caught.value.code == "no_answer"
        with pytest.raises(NotConnected):
            await s.run


@both
async def test_wrong_baud_rate_shows_in_the_evidence(kind: Kind) -> None:
    async with Cable() as cable:
        report = Recorder()
        with pytest.raises(NotConnected) as caught:
            async with running(make_driver(kind, cable.a, replace(QUICK, quiet=10)), report) as run:
                await asyncio.sleep(0)
                cable.inject(b"\x00\xf8\x81\x7f", into=cable.a)
                await run
        assert caught.value.code == "no_answer"
        assert "4 bytes that are no reply" in str(caught.value)
        assert report.history == []


@both
async def test_wire_cut_and_mended(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知", None))
        await s.speaking()
        s.cable.cut(True)
        for broken in (saying, s.run):
            with pytest.raises(NotConnected) as caught:
                await broken
            assert caught.value.code == "no_answer"
        s.cable.cut(False)
        async with running(s.driver, s.report):
            s.report.history.clear()
            await s.report.until(lambda: s.report.history[-1:] != [] and s.report.history[-1][0] == "ok")
            await s.driver.say("好", None)
            assert s.heard[-1] == "好"


@both
async def test_unplugged_while_it_speaks(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知", None))
        waiting = asyncio.create_task(s.driver.say("好", None))
        await s.speaking()
        s.cable.unplug()
        for broken in (saying, waiting, s.run):
            with pytest.raises(NotConnected) as caught:
                async with asyncio.timeout(2):
                    await broken
            assert caught.value.code == "line_closed"
        with pytest.raises(NotConnected):
            await s.driver.run(s.report)


@both
async def test_driver_stopped_while_it_speaks(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知", None))
        await s.speaking()
        s.run.cancel()
        with pytest.raises(NotConnected) as caught:
            await saying
        assert "stopped" in str(caught.value)
        await until(lambda: not s.emulator.busy)


@both
async def test_stop_on_a_dead_chip(kind: Kind) -> None:
    async with site(kind, timing=replace(QUICK, poll=60), speed=1) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知", None))
        await s.speaking()
        s.emulator.deaf = True
        with pytest.raises(NotConnected):
            await s.driver.stop()
        with pytest.raises(Refused):
            await saying


@pytest.mark.parametrize("name", KINDS)
async def test_chip_dies_and_comes_back(name: str) -> None:
    """The emulator runs as a program, is killed while it speaks, and is started again."""
    async with Cable() as cable, asyncio.timeout(25):

        async def start() -> asyncio.subprocess.Process:
            program = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"village_emulators.{name}",
                cable.b,
                "--speed",
                "2",
                stdout=asyncio.subprocess.PIPE,
            )
            assert program.stdout
            assert b"ready" in await program.stdout.readline()
            return program

        driver, report = make_driver(KINDS[name], cable.a), Recorder()
        program = await start()
        try:
            with pytest.raises(NotConnected) as caught:
                async with running(driver, report) as run:
                    await report.until(lambda: report.history != [])
                    saying = asyncio.create_task(driver.say("紧急通知", None))
                    await report.until(lambda: report.fields[-1]["busy"] is True)
                    program.kill()
                    await program.communicate()
                    with pytest.raises(NotConnected):
                        await saying
                    await run
            assert caught.value.code == "no_answer"
            program = await start()
            report.history.clear()
            async with running(driver, report):
                await report.until(lambda: report.history != [])
                await driver.say("好", None)
                assert program.stdout
                assert '"text": "好"' in (await program.stdout.readline()).decode()
        finally:
            if program.returncode is None:
                program.kill()
            await program.communicate()


@pytest.mark.parametrize("moment", range(0, 60, 6))
async def test_every_task_ends_whenever_the_plug_is_pulled(moment: int) -> None:
    async with site(KINDS["syn6288"], speed=200) as s:
        saying = asyncio.create_task(s.driver.say("村" * 150, None))
        for _ in range(moment):
            await asyncio.sleep(0.01)
        s.cable.unplug()
        async with asyncio.timeout(5):
            await asyncio.wait({saying, s.run})
        assert saying.exception() is None or isinstance(saying.exception(), NotConnected)
        assert isinstance(s.run.exception(), NotConnected)
