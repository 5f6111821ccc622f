"""PulseAudio with a null sink, recorded from its monitor, and ALSA through it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.drivers.processes import children
from tests.drivers.recorder import NoServices, Recorder, running
from tests.drivers.sound.conftest import Pulse, make_tone, rms
from tests.peers import absent, peer
from village_drivers.kit import NotConnected, Refused
from village_drivers.sound.driver import Sound, SoundConfig


@pytest_asyncio.fixture(autouse=True)
async def _no_child_left(pulse: Pulse) -> AsyncIterator[None]:
    before = children()
    yield
    assert not children(before)


def _sound(output: str) -> Sound:
    return Sound(SoundConfig(id="horn", driver="sound", output=output), NoServices())


@pytest.fixture(params=["pulse", "pulse:horn", "alsa:pulse"])
def output(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    if text.startswith("alsa"):
        peer("aplay")
        if not Path("/usr/share/alsa/alsa.conf.d/50-pulseaudio.conf").exists():
            absent("ALSA's PulseAudio plug-in is absent: apt-get install libasound2-plugins")
    return text


async def test_the_whole_sound_comes_out_in_real_time(pulse: Pulse, output: str, tmp_path: Path) -> None:
    recording = asyncio.create_task(pulse.record(2.5))
    report = Recorder()
    sound = _sound(output)
    async with running(sound, report):
        await report.until(lambda: bool(report.history))
        started = time.monotonic()
        evidence = await sound.play_from(str(make_tone(tmp_path / "tone.wav", 1.2)), None, 0)
        assert time.monotonic() - started == pytest.approx(1.5, abs=0.3)
    assert evidence.startswith("played 1.20 s")
    recorded = await recording
    block = 960
    loud = [n for n in range(0, len(recorded), block) if rms(recorded[n : n + block]) > 0.2]
    assert len(loud) * block / 96_000 == pytest.approx(1.2, abs=0.06)
    assert (loud[-1] - loud[0]) / 96_000 == pytest.approx(1.2, abs=0.1)


async def test_stop_silences_at_once_and_knows_where(pulse: Pulse, output: str, tmp_path: Path) -> None:
    sound = _sound(output)
    recording = asyncio.create_task(pulse.record(2.5))
    playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
    while sound.position_seconds < 0.5:
        await asyncio.sleep(0.01)
    await sound.stop()
    with pytest.raises(Refused, match="stopped after"):
        await playing
    recorded = await recording
    loud = sum(rms(recorded[n : n + 960]) > 0.2 for n in range(0, len(recorded), 960)) / 100
    assert loud == pytest.approx(sound.position_seconds, abs=0.35)


async def test_an_unknown_sink_is_named(pulse: Pulse) -> None:
    with pytest.raises(NotConnected, match="no sink siren, but horn"):
        await _sound("pulse:siren").run(Recorder())
    with pytest.raises(NotConnected, match="pulse:siren: "):
        await _sound("pulse:siren").say("请注意", None)


async def test_a_missing_server_is_named(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{pulse.folder}/nobody")
    with pytest.raises(NotConnected, match="PulseAudio: Connection"):
        await _sound("pulse").run(Recorder())
    with pytest.raises(NotConnected) as caught:
        await _sound("pulse").say("请注意", None)
    assert caught.value.code == "program_failed"


async def test_an_absent_sound_card_is_named(pulse: Pulse) -> None:
    peer("aplay")
    with pytest.raises(NotConnected, match="audio open error"):
        await _sound("alsa:plughw:77,0").run(Recorder())
    with pytest.raises(NotConnected, match="audio open error"):
        await _sound("alsa:plughw:77,0").say("请注意", None)


async def test_a_device_that_swallows_sound_faster_than_time_is_no_loudspeaker(pulse: Pulse, tmp_path: Path) -> None:
    peer("aplay")
    with pytest.raises(NotConnected, match="no real loudspeaker"):
        await _sound("alsa:null").play_from(str(make_tone(tmp_path / "tone.wav", 5)), None, 0)


async def test_a_player_that_dies_midway_says_after_how_long(pulse: Pulse, tmp_path: Path) -> None:
    sound = _sound("pulse:horn")
    playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
    while sound.position_seconds < 0.3:
        await asyncio.sleep(0.01)
    players = [pid for pid in children() if "pacat" in Path(f"/proc/{pid}/cmdline").read_text()]
    for pid in players:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(NotConnected, match=r"\(after 0\.\d+ s\)"):
        await playing
    assert players
