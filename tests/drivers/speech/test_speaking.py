"""Both drivers speak to their emulators over a cable; what counts is what left the loudspeaker."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.drivers.recorder import NoServices
from tests.drivers.speech.sites import KINDS, QUICK, Kind, make_driver, site, until
from village_drivers.abilities import abilities_of
from village_drivers.kit import NotConnected, Refused
from village_drivers.registry import DRIVERS
from village_drivers.speech.text import clean_text

both = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

LONG = "各位村民请注意，今天夜间有大到暴雨。" * 12


@pytest.mark.parametrize("name", KINDS)
def test_registered(name: str) -> None:
    driver = DRIVERS[name].load()
    assert driver.__name__ == KINDS[name][0].__name__
    config = driver.Config.model_validate({"id": "horn-1", "driver": name, "port": "/dev/ttyUSB0", "name": "村口"})
    devices = driver(config, NoServices()).devices()
    assert list(devices) == ["horn-1"]
    assert (devices["horn-1"].kind, devices["horn-1"].name) == ("loudspeaker", "村口")
    assert abilities_of(devices["horn-1"].handle) == ("loudspeaker",)


@pytest.mark.parametrize("wrong", [{"volume": 101}, {"volume": -1}, {"baudrate": 1200}, {"loudness": 3}])
@both
def test_wrong_settings(kind: Kind, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make_driver(kind, "/dev/ttyUSB0", **wrong)


@both
async def test_says_with_evidence(kind: Kind) -> None:
    async with site(kind) as s:
        evidence = await s.driver.say("紧急通知，请立即转移。", 50)
        assert re.fullmatch(r"chip accepted 1 frame, busy \d+\.\d s, then idle", evidence)
        assert s.heard == ["紧急通知，请立即转移。"]
        assert s.emulator.spoken[0].volume == s.emulator.max_volume / 2
        await s.report.until(lambda: {"busy": False, "volume_percent": 50.0} in s.report.fields)
        assert {"busy": True, "volume_percent": 50.0} in s.report.fields


@both
@pytest.mark.parametrize(("percent", "share"), [(None, 0.8), (0, 0), (100, 1)])
async def test_volume(kind: Kind, percent: float | None, share: float) -> None:
    async with site(kind) as s:
        await s.driver.say("好", percent)
        assert s.emulator.spoken[0].volume == round(share * s.emulator.max_volume)


@both
async def test_long_text_is_heard_whole(kind: Kind) -> None:
    async with site(kind, speed=100) as s:
        evidence = await s.driver.say(LONG, None)
        assert "".join(s.heard) == LONG
        assert all(spoken.complete for spoken in s.emulator.spoken)
        assert f"chip accepted {len(s.heard)} frame" in evidence
        assert all(text.endswith("。") for text in s.heard)


async def test_a_frame_is_on_the_line_for_half_a_second_at_most() -> None:
    async with site(KINDS["xfs5152"], speed=200) as s:
        await s.driver.say("村" * 2000, None)
        assert "".join(s.heard) == "村" * 2000
        assert max(map(len, s.emulator.frames)) <= 9600 / 10 / 2 + 5
    async with site(KINDS["xfs5152"], speed=2000, baudrate=115200) as s:
        await s.driver.say("村" * 2000, None)
        assert s.heard == ["村" * 2000]


@both
@pytest.mark.parametrize("text", ["[v0]紧急通知", "紧急[v0]通知", "[d][v1]\n[m51]紧急通知", "紧急通知[v0"])
async def test_typed_marks_are_spoken_not_executed(kind: Kind, text: str) -> None:
    async with site(kind) as s:
        await s.driver.say(text, 100)
        assert "".join(s.heard) == clean_text(text)
        assert {spoken.volume for spoken in s.emulator.spoken} == {s.emulator.max_volume}


@both
@pytest.mark.parametrize("text", ["㑇家村通知", "𠮷田村", "нет связи 通知", "ok 👍 好"])
async def test_characters_that_gbk_lacks(kind: Kind, text: str) -> None:
    async with site(kind) as s:
        await s.driver.say(text, None)
        assert s.heard == [text]


@both
@pytest.mark.parametrize("text", ["", "  \n", "。。。", "[]"])
async def test_nothing_to_speak(kind: Kind, text: str) -> None:
    async with site(kind) as s:
        with pytest.raises(Refused) as caught:
            await s.driver.say(text, None)
        assert caught.value.code == "rejected"
        assert not s.emulator.spoken


@both
async def test_one_text_at_a_time(kind: Kind) -> None:
    async with site(kind) as s:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for text in ("第一条通知", "第二条通知", "第三条通知"):
                group.create_task(s.driver.say(text, None))
        assert s.heard == ["第一条通知", "第二条通知", "第三条通知"]
        assert len(s.emulator.spoken) == 3


@both
async def test_polls_while_silent_and_not_while_speaking(kind: Kind) -> None:
    async with site(kind) as s:
        polled = len(s.emulator.frames)
        await until(lambda: len(s.emulator.frames) > polled + 2)
        at_end: list[bytes] = []
        s.emulator.told = lambda spoken: at_end.extend(s.emulator.frames)
        await s.driver.say("村" * 60, None)
        assert len(at_end[-1]) > 120


@both
async def test_readings_are_repeated(kind: Kind) -> None:
    async with site(kind) as s:
        await s.report.until(lambda: len(s.report.fields) > 2)
        assert s.report.fields[-1] == {"busy": False, "volume_percent": 80.0}


@both
async def test_stop_ends_a_text(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say(LONG, None))
        waiting = asyncio.create_task(s.driver.say("然后", None))
        await s.speaking()
        async with asyncio.timeout(2):
            await s.driver.stop()
        assert not s.emulator.busy
        for task in (saying, waiting):
            with pytest.raises(Refused) as caught:
                await task
            assert caught.value.code == "silenced"
        assert s.heard == []
        assert await s.driver.say("好", None)
        assert s.heard == ["好"]


@both
async def test_stop_while_silent(kind: Kind) -> None:
    async with site(kind) as s:
        await s.driver.stop()
        await s.driver.stop()
        await s.driver.say("好", None)
        assert s.heard == ["好"]


@both
async def test_cancelled_text_falls_silent(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say(LONG, None))
        await s.speaking()
        saying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saying
        await until(lambda: not s.emulator.busy, seconds=2)
        assert await s.driver.say("好", None)
        assert s.heard == ["好"]


@both
async def test_cancelled_before_its_turn_is_never_heard(kind: Kind) -> None:
    async with site(kind) as s:
        first = asyncio.create_task(s.driver.say("第一条通知", None))
        second = asyncio.create_task(s.driver.say("第二条通知", None))
        await s.speaking()
        second.cancel()
        await first
        await asyncio.wait({second})
        assert second.cancelled()
        assert s.heard == ["第一条通知"]
        assert len(s.emulator.spoken) == 1


@both
async def test_cancelled_at_any_moment_leaves_a_usable_chip(kind: Kind) -> None:
    async with site(kind, speed=100) as s:
        for steps in range(40):
            saying = asyncio.create_task(s.driver.say("村" * 20, None))
            for _ in range(steps):
                await asyncio.sleep(0.001)
            saying.cancel()
            await asyncio.wait({saying})
        s.emulator.spoken.clear()
        assert await s.driver.say("好", None)
        assert s.heard[-1] == "好"


@both
async def test_rejected(kind: Kind) -> None:
    async with site(kind) as s:
        s.emulator.reject = 1
        await s.driver.say("好", None)
        assert s.heard == ["好"]
        s.emulator.reject = 100
        with pytest.raises(Refused) as caught:
            await s.driver.say("好", None)
        assert caught.value.code == "rejected"


@both
async def test_lost_idle_is_asked_for(kind: Kind) -> None:
    async with site(kind) as s:
        s.emulator.loses_idle = True
        async with asyncio.timeout(5):
            assert await s.driver.say("紧急通知", None)
        assert s.heard == ["紧急通知"]


@both
async def test_chip_that_never_ends(kind: Kind) -> None:
    async with site(kind, speed=0.001) as s:
        with pytest.raises(Refused) as caught:
            await s.driver.say("好", None)
        assert "still reports busy" in str(caught.value)
        await until(lambda: not s.emulator.busy)


@both
async def test_chip_that_loses_power_while_it_speaks(kind: Kind) -> None:
    async with site(kind, speed=1) as s:
        saying = asyncio.create_task(s.driver.say("紧急通知", None))
        await s.speaking()
        await s.emulator.restart()
        with pytest.raises(Refused) as caught:
            await saying
        assert caught.value.code == "power_fault"


async def test_without_a_line() -> None:
    driver = make_driver(KINDS["syn6288"], "/nonexistent/tty", QUICK)
    with pytest.raises(NotConnected):
        await driver.say("好", None)
    with pytest.raises(NotConnected):
        await driver.stop()
