"""A sound card that is really gone while it plays: PulseAudio's sink is unloaded, PulseAudio itself is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.drivers.recorder import NoServices, Recorder, running
from tests.drivers.sound.conftest import RATE, Pulse, make_tone, rms
from tests.drivers.sound.test_live import Tone
from village_drivers.kit import NotConnected
from village_drivers.sound.driver import Sound, SoundConfig

#: From the loss to the driver's word of it; a block is 20 ms, and the sink of the tests runs in blocks of 50 ms.
MOST_SECONDS = 0.5

Play = Callable[[Sound], Awaitable[str]]


def _sound(output: str) -> Sound:
    return Sound(SoundConfig(id="horn", driver="sound", output=output, check_seconds=0.2), NoServices())


@pytest.fixture(params=["file", "live"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    if request.param == "file":
        tone = str(make_tone(tmp_path / "tone.wav", 20))
        return lambda sound: sound.play_from(tone, None, 0)
    voice = Tone(1000)
    voice.on.set()
    return lambda sound: sound.play_live(voice, None)


async def _lost(sound: Sound, play: Play, lose: Callable[[], Awaitable[None]]) -> NotConnected:
    """Take the card away after a second; return what the player says of it."""
    playing = asyncio.ensure_future(play(sound))
    async with asyncio.timeout(10):
        while sound.position_seconds < 1.0:
            await asyncio.sleep(0.01)
    before = sound.position_seconds
    await lose()
    begun = time.monotonic()
    with pytest.raises(NotConnected) as caught:
        async with asyncio.timeout(5):
            await playing
    assert time.monotonic() - begun < MOST_SECONDS
    assert sound.position_seconds == pytest.approx(before, abs=MOST_SECONDS)
    return caught.value


@pytest.mark.parametrize("output", ["pulse:horn", "pulse", "alsa:pulse"])
async def test_the_only_card_is_gone(pulse: Pulse, play: Play, output: str) -> None:
    error = await _lost(_sound(output), play, lambda: pulse.unload("horn"))
    assert error.code == "program_failed"
    assert any(word in str(error) for word in ("Entity killed", "Input/output error"))


async def test_pulseaudio_does_not_play_on_elsewhere(pulse: Pulse, play: Play) -> None:
    await pulse.load("other")
    recording = asyncio.create_task(pulse.record(4.0, "other"))
    error = await _lost(_sound("pulse:horn"), play, lambda: pulse.unload("horn"))
    assert str(error).startswith("pulse:horn is gone: PulseAudio plays on other instead (after 1.")
    heard = await recording
    loud = [at for at in range(0, len(heard), RATE // 50) if rms(heard[at : at + RATE // 50]) > 0.05]
    assert len(loud) / 100 < MOST_SECONDS


async def test_the_default_card_is_gone_and_a_dummy_takes_its_place(pulse: Pulse, play: Play) -> None:
    await pulse.pactl("load-module", "module-always-sink")
    error = await _lost(_sound("pulse"), play, lambda: pulse.unload("horn"))
    assert "plays on auto_null instead" in str(error)


async def test_the_default_card_may_be_another_one(pulse: Pulse, tmp_path: Path) -> None:
    await pulse.load("other")
    sound = _sound("pulse")
    playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 3)), None, 0))
    async with asyncio.timeout(10):
        while sound.position_seconds < 1.0:
            await asyncio.sleep(0.01)
    await pulse.unload("horn")
    assert (await playing).startswith("played 3.00 s")


@pytest.mark.parametrize("output", ["pulse:horn", "alsa:pulse"])
async def test_pulseaudio_is_killed(pulse: Pulse, play: Play, output: str) -> None:
    error = await _lost(_sound(output), play, pulse.kill)
    assert error.code == "program_failed"


async def test_the_driver_says_so_and_is_well_again_when_the_card_is_back(pulse: Pulse, tmp_path: Path) -> None:
    await pulse.load("other")
    sound, tone = _sound("pulse:horn"), str(make_tone(tmp_path / "tone.wav", 20))
    with pytest.raises(NotConnected, match="plays on other instead"):
        async with running(sound, Recorder()) as task:
            await _lost(sound, lambda one: one.play_from(tone, None, 0), lambda: pulse.unload("horn"))
            async with asyncio.timeout(5):
                await task
    with pytest.raises(NotConnected, match="no sink horn, but other"):
        await sound.run(Recorder())
    await pulse.load("horn")
    report = Recorder()
    async with running(sound, report):
        await report.until(lambda: report.history != [] and report.history[-1][0] == "ok")
        assert (await sound.play_from(tone, None, 19.5)).startswith("played 0.50 s")
