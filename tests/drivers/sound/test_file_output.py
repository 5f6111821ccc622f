"""The whole path with the real espeak-ng and ffmpeg, into a file that is written in real time."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.drivers.processes import children
from tests.drivers.recorder import NoServices, Recorder, running
from tests.drivers.sound.conftest import RATE, make_tone, read_wav, rms
from tests.peers import peer
from village_drivers.kit import Misconfigured, NotConnected, Refused
from village_drivers.sound.driver import Sound, SoundConfig


def _sound(output: Path, **settings: object) -> Sound:
    config = {"id": "horn", "driver": "sound", "output": f"file:{output}", **settings}
    return Sound(SoundConfig.model_validate(config), NoServices())


@pytest_asyncio.fixture(autouse=True)
async def _no_child_left() -> AsyncIterator[None]:
    peer("ffmpeg")
    peer("espeak-ng")
    before = children()
    yield
    assert not children(before)


async def test_a_file_is_played_in_real_time_with_its_whole_content(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    tone = make_tone(tmp_path / "tone.wav", 1.5)
    started = time.monotonic()
    evidence = await sound.play_from(str(tone), None, 0)
    assert time.monotonic() - started == pytest.approx(1.5, abs=0.4)
    samples = read_wav(tmp_path / "horn.wav")
    assert len(samples) / RATE / 2 == pytest.approx(1.5, rel=0.01)
    assert rms(samples) == pytest.approx(0.5 / 2**0.5, rel=0.02)
    assert evidence.startswith("played 1.50 s in 1.5")
    assert evidence.endswith(f"on file:{tmp_path}/horn.wav")


async def test_the_file_grows_at_the_pace_of_the_sound(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    tone = make_tone(tmp_path / "tone.wav", 1.0)
    playing = asyncio.create_task(sound.play_from(str(tone), None, 0))
    path = tmp_path / "horn.wav"
    while not path.exists() or path.stat().st_size < 2000:
        await asyncio.sleep(0.005)
    started, first = time.monotonic(), path.stat().st_size
    while not playing.done():
        await asyncio.sleep(0.02)
        ahead = (path.stat().st_size - first) / RATE / 2 - (time.monotonic() - started)
        assert ahead < 0.1
    await playing


async def test_chinese_is_spoken_and_two_announcements_follow_each_other(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    evidence = await sound.say("请注意防汛", None)
    first = read_wav(tmp_path / "horn.wav")
    assert 0.5 < len(first) / RATE / 2 < 3
    assert rms(first) > 0.02
    assert f"played {len(first) / RATE / 2:.2f} s" in evidence
    await sound.say("SOS", None)
    assert read_wav(tmp_path / "horn.wav")[: len(first)] == first
    assert len(read_wav(tmp_path / "horn.wav")) > len(first)


async def test_characters_are_read_as_syllables_not_as_letters(tmp_path: Path) -> None:
    """espeak-ng's plain voice `cmn` spells 请 as English letters, which takes several times as long."""
    lengths = []
    for number, text in enumerate(("请", "请请请请")):
        sound = _sound(tmp_path / f"{number}.wav")
        await sound.say(text, None)
        lengths.append(len(read_wav(tmp_path / f"{number}.wav")) / RATE / 2)
    assert (lengths[1] - lengths[0]) / 3 < 0.45


async def test_the_volume_follows_the_curve(tmp_path: Path) -> None:
    tone = make_tone(tmp_path / "tone.wav", 0.2)
    loudness = {}
    for volume in (0, 50, 100):
        await _sound(tmp_path / f"{volume}.wav", volume=70).play_from(str(tone), volume, 0)
        loudness[volume] = rms(read_wav(tmp_path / f"{volume}.wav"))
    assert loudness[0] == 0
    assert loudness[50] / loudness[100] == pytest.approx(0.125, rel=0.03)
    with pytest.raises(Refused, match="101 is not between"):
        await _sound(tmp_path / "x.wav").play_from(str(tone), 101, 0)


async def test_stop_ends_the_sound_with_the_seconds_played(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
    while sound.position_seconds < 0.3:
        await asyncio.sleep(0.01)
    started = time.monotonic()
    await sound.stop()
    assert time.monotonic() - started < 0.5
    with pytest.raises(Refused, match=r"stopped after 0\.[345]") as caught:
        await playing
    assert caught.value.code == "interrupted"
    assert len(read_wav(tmp_path / "horn.wav")) / RATE / 2 == pytest.approx(sound.position_seconds, abs=0.025)
    await sound.stop()


async def test_a_cancelled_sound_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    tone = str(make_tone(tmp_path / "tone.wav", 1.2))
    playing = asyncio.create_task(sound.play_from(tone, None, 0))
    while sound.position_seconds < 0.3:
        await asyncio.sleep(0.01)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    at = sound.position_seconds
    await sound.play_from(tone, None, at)
    assert len(read_wav(tmp_path / "horn.wav")) / RATE / 2 == pytest.approx(1.2, abs=0.05)
    assert sound.position_seconds == pytest.approx(1.2, abs=0.05)


async def test_a_sound_that_was_cut_twice_comes_out_sample_by_sample(tmp_path: Path) -> None:
    samples = random.Random(7).randbytes(RATE * 2 * 6 // 5)
    with wave.open(str(tmp_path / "noise.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples)
    sound, at = _sound(tmp_path / "horn.wav"), 0.0
    for cut in (0.31, 0.77):
        playing = asyncio.create_task(sound.play_from(str(tmp_path / "noise.wav"), None, at))
        while sound.position_seconds < cut:
            await asyncio.sleep(0.001)
        await sound.stop()
        with pytest.raises(Refused):
            await playing
        at = sound.position_seconds
    await sound.play_from(str(tmp_path / "noise.wav"), None, at)
    assert read_wav(tmp_path / "horn.wav") == samples
    assert sound.position_seconds == pytest.approx(1.2)


async def test_only_one_sound_at_a_time(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 5)), None, 0))
    while not sound.position_seconds:
        await asyncio.sleep(0.01)
    with pytest.raises(Refused) as caught:
        await sound.say("请注意", None)
    assert caught.value.code == "busy"
    await sound.stop()
    with pytest.raises(Refused):
        await playing


@pytest.mark.parametrize("content", [b"", b"not sound at all" * 100, os.urandom(20_000)])
async def test_a_corrupt_file_is_refused_with_the_decoders_reason(tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(content)
    with pytest.raises(Refused, match=r"broken\.mp3: ") as caught:
        await _sound(tmp_path / "horn.wav").play_from(str(broken), None, 0)
    assert caught.value.code == "unplayable"


@pytest.mark.parametrize("name", ["absent.mp3", "-i", "http:localhost"])
async def test_an_absent_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="does not exist"):
        await _sound(tmp_path / "horn.wav").play_from(str(tmp_path / name), None, 0)


async def test_a_playlist_cannot_reach_into_the_network(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(Refused):
        await _sound(tmp_path / "horn.wav").play_from(str(playlist), None, 0)


async def test_a_text_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        await _sound(tmp_path / "horn.wav").say("", None)
    with pytest.raises(Refused, match="no voice"):
        await _sound(tmp_path / "horn.wav", voice="").say("请", None)


async def test_the_driver_says_what_it_does(tmp_path: Path) -> None:
    sound, report = _sound(tmp_path / "horn.wav", volume=40), Recorder()
    async with running(sound, report):
        await report.until(lambda: bool(report.fields))
        playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 0.3)), 60, 0))
        await report.until(lambda: report.fields[-1] == {"busy": True, "volume_percent": 60})
        await playing
        await report.until(lambda: report.fields[-1] == {"busy": False, "volume_percent": 40})
    assert {state[:2] for state in report.history} == {("ok", "works")}


async def test_the_end_of_the_driver_ends_the_sound(tmp_path: Path) -> None:
    sound, report = _sound(tmp_path / "horn.wav"), Recorder()
    async with running(sound, report):
        playing = asyncio.create_task(sound.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
        while not sound.position_seconds:
            await asyncio.sleep(0.01)
    with pytest.raises(Refused, match="stopped after"):
        await playing


async def test_a_lost_folder_is_a_lost_loudspeaker_until_it_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    sound, report = _sound(folder / "horn.wav"), Recorder()
    with pytest.raises(NotConnected, match="usb"):
        async with running(sound, report) as task:
            await report.until(lambda: bool(report.history))
            shutil.rmtree(folder)
            with pytest.raises(NotConnected, match="usb"):
                await sound.say("请注意", None)
            async with asyncio.timeout(5):
                await task
    with pytest.raises(NotConnected, match="absent or not writable"):
        await sound.run(Recorder())
    folder.mkdir()
    async with running(sound, report):
        await report.until(lambda: len(report.history) > 1)


@pytest.mark.parametrize(("missing", "package"), [("ffmpeg", "ffmpeg"), ("espeak-ng", "espeak-ng")])
async def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
) -> None:
    for name in {"ffmpeg", "espeak-ng"} - {missing}:
        (tmp_path / name).symlink_to(peer(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    # The package that ships an ffmpeg looks there first.
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    if missing == "ffmpeg":
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(Misconfigured, match=f"{missing} is not installed: apt-get install {package}") as caught:
        await _sound(tmp_path / "horn.wav").run(Recorder())
    assert caught.value.code == "program_missing"
    with pytest.raises(NotConnected, match="apt-get install"):
        await _sound(tmp_path / "horn.wav").say("请注意", None)


async def test_an_unknown_voice_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="voice does not exist"):
        await _sound(tmp_path / "horn.wav", voice="klingon9").run(Recorder())


async def test_the_text_is_not_in_the_process_list(tmp_path: Path) -> None:
    sound = _sound(tmp_path / "horn.wav")
    speaking = asyncio.create_task(sound.say("the code is 4711 " * 5, None))
    seen = ""
    while not sound.position_seconds:
        for pid in children():
            try:
                seen += Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
        await asyncio.sleep(0.002)
    await sound.stop()
    with pytest.raises(Refused):
        await speaking
    assert "ffmpeg" in seen
    assert "4711" not in seen
