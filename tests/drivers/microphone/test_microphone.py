from __future__ import annotations

import array
import asyncio
import math
from typing import Any

import pytest
from pydantic import ValidationError

from tests.agent.kit import until
from tests.drivers.recorder import NoServices, Recorder, running
from tests.drivers.sound.conftest import Pulse, pulse
from tests.peers import peer
from village_drivers.abilities import RECORDING_RATE, abilities_of
from village_drivers.kit import DriverError, NotConnected
from village_drivers.microphone.driver import Microphone, MicrophoneConfig
from village_drivers.microphone.source import Source, missing
from village_drivers.registry import DRIVERS

__all__ = ["pulse"]


def microphone(**more: Any) -> Microphone:
    return Microphone(MicrophoneConfig(id="ear", driver="microphone", **more), NoServices())


def test_it_stands_in_the_registry() -> None:
    assert DRIVERS["microphone"].load() is Microphone
    assert abilities_of(microphone()) == ("microphone",)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"input": "jack"}, "alsa:DEVICE"),
        ({"input": "alsa:"}, "alsa:DEVICE"),
        ({"input": "alsa:default", "server": "unix:/run/pulse/native"}, "pulse only"),
        ({"input": "pulse", "server": "a b"}, "server"),
    ],
)
def test_wrong_settings_are_refused(more: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MicrophoneConfig(id="ear", driver="microphone", **more)


def test_sources_are_found_in_the_list() -> None:
    listed = b"0\thorn.monitor\tmodule-null-sink.c\ts16le 1ch 48000Hz\tIDLE\n\xff\n1\tusb\n"
    assert missing(listed, "usb") == missing(listed, "") == ""
    assert missing(listed, "mic") == "PulseAudio has no source mic, but horn.monitor, usb"
    assert missing(b"", "mic") == "PulseAudio has no source mic, but none at all"
    assert missing(b"0\tauto_null.monitor\tm\n", "") == "PulseAudio has no sound card"


async def test_it_records_while_it_is_asked_to_and_no_longer(pulse: Pulse) -> None:
    ear, report, over = microphone(input="pulse:horn.monitor", server=pulse.server), Recorder(), asyncio.Event()
    begun = asyncio.Event()
    async with running(ear, report):
        await report.until(lambda: report.states.get("ear", ("",))[0] == "ok")
        recording = asyncio.create_task(ear.record(begun, over, 20))
        await begun.wait()
        tone = array.array("h", (int(9000 * math.sin(index / 8)) for index in range(72_000)))
        player = await asyncio.create_subprocess_exec(
            str(peer("pacat")), "--device=horn", "--raw", "--format=s16ne", "--rate=48000", "--channels=1",
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await player.communicate(tone.tobytes())
        over.set()
        samples = array.array("h", await recording)
        assert 1.0 * RECORDING_RATE < len(samples) < 8 * RECORDING_RATE
        loud = [value for value in samples if abs(value) > 500]
        assert len(loud) > RECORDING_RATE
        assert len(await ear.record(asyncio.Event(), asyncio.Event(), 0.5)) <= RECORDING_RATE
        assert report.states["ear"][0] == "ok"


async def test_a_source_that_is_not_there_is_told(pulse: Pulse) -> None:
    ear, report = microphone(input="pulse:gone", server=pulse.server), Recorder()
    with pytest.raises(NotConnected, match="no source gone, but horn"):
        await ear.run(report)
    with pytest.raises(NotConnected):
        await ear.record(asyncio.Event(), asyncio.Event(), 5)


async def test_a_recording_that_fails_shows_in_the_state(pulse: Pulse) -> None:
    ear, report = microphone(input="pulse:horn.monitor", server=pulse.server), Recorder()
    running_driver = asyncio.create_task(ear.run(report))
    await until(lambda: report.states.get("ear", ("",))[0] == "ok")
    ear._source = Source("pulse", "gone", pulse.server)
    with pytest.raises(NotConnected):
        await ear.record(asyncio.Event(), asyncio.Event(), 5)
    with pytest.raises(DriverError):
        await running_driver
