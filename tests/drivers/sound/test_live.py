"""Sound that is made while it is played."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from pathlib import Path

import pytest

from tests.drivers.recorder import NoServices
from tests.drivers.sound.conftest import RATE, Pulse, read_wav, rms
from village_drivers.abilities import LivePlayer
from village_drivers.kit import Refused
from village_drivers.sound.driver import Sound, SoundConfig
from village_drivers.sound.pcm import gain

BLOCK = 960
#: What the output of a live voice may keep from the ear.
MOST_DELAY = 0.25


class Tone:
    """440 Hz that begins when `on` is set, for so many blocks; before that silence."""

    def __init__(self, blocks: int) -> None:
        self._left = blocks
        self._sample = 0
        self.on = asyncio.Event()
        self.began = 0.0
        self.asked: list[float] = []

    def read(self, gain: float) -> bytes:
        self.asked.append(gain)
        if not self.on.is_set():
            return bytes(2 * BLOCK)
        if not self._left:
            return b""
        self.began = self.began or time.monotonic()
        self._left -= 1
        start, self._sample = self._sample, self._sample + BLOCK
        return b"".join(
            struct.pack("<h", int(16000 * math.sin(2 * math.pi * 440 * n / RATE))) for n in range(start, start + BLOCK)
        )


def _sound(output: str) -> Sound:
    return Sound(SoundConfig(id="horn", driver="sound", output=output), NoServices())


async def test_it_is_asked_at_the_pace_of_the_output_with_the_volume_as_a_factor(tmp_path: Path) -> None:
    sound, tone = _sound(f"file:{tmp_path / 'horn.wav'}"), Tone(50)
    assert isinstance(sound, LivePlayer)
    tone.on.set()
    started = time.monotonic()
    assert (await sound.play_live(tone, 50)).startswith("played 1.00 s")
    assert time.monotonic() - started == pytest.approx(1.0, abs=0.3)
    assert len(read_wav(tmp_path / "horn.wav")) == 2 * 48_000
    assert set(tone.asked) == {gain(50)}


async def test_a_stop_ends_it(tmp_path: Path) -> None:
    sound, silence = _sound(f"file:{tmp_path / 'horn.wav'}"), Tone(1)
    playing = asyncio.create_task(sound.play_live(silence, None))
    while len(silence.asked) < 5:
        await asyncio.sleep(0.01)
    with pytest.raises(Refused, match="another sound"):
        await sound.play_live(Tone(1), None)
    await sound.stop()
    with pytest.raises(Refused, match="stopped after"):
        await playing


@pytest.mark.parametrize("output", ["pulse:horn", "alsa:pulse"])
async def test_it_is_heard_soon_after_it_is_made(pulse: Pulse, output: str) -> None:
    sound, tone = _sound(output), Tone(25)
    recording = asyncio.create_task(pulse.record(2.5))
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    playing = asyncio.create_task(sound.play_live(tone, None))
    await asyncio.sleep(1.0)
    tone.on.set()
    await playing
    recorded = await recording
    ended = time.monotonic()
    first = next(n for n in range(0, len(recorded), BLOCK) if rms(recorded[n : n + BLOCK]) > 0.2)
    heard = ended - (len(recorded) - first) / 2 / RATE
    assert begun < tone.began
    assert heard - tone.began < MOST_DELAY
    print(f"{output}: {heard - tone.began:.3f} s")
