"""Sounds that begin at a given moment: several outputs of a real PulseAudio, recorded on one clock."""

from __future__ import annotations

import asyncio
import time
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.bench.sound_match import find, noise, onset
from tests.drivers.recorder import NoServices
from tests.peers import absent
from tests.peers.pulseaudio import RATE, PulseAudio, Tape
from village_drivers.abilities import PunctualPlayer
from village_drivers.kit import NotConnected
from village_drivers.sound.driver import Sound, SoundConfig

SINKS = ("east", "west", "hill")
#: What the design asks for.
MAX_SKEW_SECONDS = 0.02
#: A null sink lets a recorder have a block before its time.
MAX_ERROR_SECONDS = 0.06
NOISE = noise(0.6, 1)


@dataclass
class Ground:
    pulse: PulseAudio
    sound: Path


@pytest_asyncio.fixture
async def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    sound = tmp_path / "noise.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(NOISE.tobytes())
    async with PulseAudio(tmp_path / "pulse", SINKS) as pulse:
        for name, value in pulse.environment.items():
            monkeypatch.setenv(name, value)
        yield Ground(pulse, sound)


def driver(output: str) -> Sound:
    return Sound(SoundConfig(id="horn", driver="sound", output=output), NoServices())


def began(tape: Tape, at: float) -> float:
    """When the noise began on a tape, looked for from a moment on."""
    first = onset(tape.samples, tape.since(at), len(tape.samples))
    assert first is not None
    place, likeness = find(NOISE[: RATE // 5], tape.samples, first - RATE // 20, first + RATE // 20)
    assert likeness > 0.9
    return tape.moment(place)


async def test_several_outputs_begin_together_at_the_moment(ground: Ground) -> None:
    with ground.pulse.recording(SINKS) as tapes:
        horns = [driver(f"pulse:{sink}") for sink in SINKS]
        called = time.monotonic()
        at = called + horns[0].ahead_seconds + 0.2
        found = await asyncio.gather(*(horn.play_at(str(ground.sound), None, at) for horn in horns))
        await asyncio.sleep(0.2)
        times = [began(tape, called) for tape in tapes]
    assert all(evidence.startswith("played 0.60 s in ") and "late" not in evidence for evidence in found)
    assert max(times) - min(times) <= MAX_SKEW_SECONDS
    assert all(abs(time - at) <= MAX_ERROR_SECONDS for time in times)


async def test_a_card_begins_with_them(ground: Ground) -> None:
    if not Path("/usr/share/alsa/alsa.conf.d/50-pulseaudio.conf").exists():
        absent("ALSA's PulseAudio plug-in is absent: apt-get install libasound2-plugins")
    (ground.sound.parent / "pulse" / ".asoundrc").write_text("pcm.hill { type pulse device hill }\n")
    with ground.pulse.recording(("east", "hill")) as tapes:
        horns = [driver("pulse:east"), driver("alsa:hill")]
        called = time.monotonic()
        at = called + horns[0].ahead_seconds + 0.2
        await asyncio.gather(*(horn.play_at(str(ground.sound), None, at) for horn in horns))
        await asyncio.sleep(0.2)
        times = [began(tape, called) for tape in tapes]
    assert max(times) - min(times) <= MAX_SKEW_SECONDS
    assert all(abs(time - at) <= MAX_ERROR_SECONDS for time in times)


async def test_what_is_asked_for_too_late_begins_at_once_and_says_so(ground: Ground) -> None:
    with ground.pulse.recording(("east",)) as (tape,):
        called = time.monotonic()
        evidence = await driver("pulse:east").play_at(str(ground.sound), None, called + 0.1)
        await asyncio.sleep(0.2)
        late = began(tape, called) - called - 0.1
    assert 0.05 < late < 1.5
    said = float(evidence.partition("began ")[2].partition(" s late")[0])
    assert said == pytest.approx(late, abs=MAX_ERROR_SECONDS)


async def test_the_silence_before_it_is_no_part_of_what_was_heard(ground: Ground) -> None:
    horn = driver("pulse:east")
    at = time.monotonic() + horn.ahead_seconds
    playing = asyncio.create_task(horn.play_at(str(ground.sound), None, at))
    while time.monotonic() < at - 0.1:
        assert horn.position_seconds == 0
        await asyncio.sleep(0.02)
    await asyncio.sleep(at + 0.4 - time.monotonic())
    assert horn.position_seconds == pytest.approx(0.4, abs=0.15)
    await playing
    assert horn.position_seconds == pytest.approx(0.6)


async def test_a_player_that_tells_everything_is_quoted_with_its_complaint_alone(ground: Ground) -> None:
    with pytest.raises(NotConnected) as raised:
        await driver("pulse:nowhere").play_at(str(ground.sound), None, time.monotonic() + 0.5)
    assert str(raised.value).endswith("pulse:nowhere: Stream error: No such entity")


async def test_a_file_begins_at_the_moment(tmp_path: Path, ground: Ground) -> None:
    horn = driver(f"file:{tmp_path}/heard.wav")
    assert isinstance(horn, PunctualPlayer)
    at = time.monotonic() + 0.5
    await horn.play_at(str(ground.sound), None, at)
    assert time.monotonic() == pytest.approx(at + 0.6, abs=0.2)
