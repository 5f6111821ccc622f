"""Talking through the back channel of a camera that others wrote: GStreamer's ONVIF server."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.recorder import Recorder, running
from tests.drivers.rtsp.cameras import make_driver
from tests.drivers.sound.conftest import make_tone, rms
from tests.drivers.sound.test_live import Tone
from tests.peers import absent, free_port, peer
from village_drivers.abilities import LivePlayer, abilities_of
from village_drivers.kit import NotConnected, Refused

_CODECS = {"PCMU": ("0", "mulaw"), "PCMA": ("8", "alaw")}


@dataclass
class TalkingCamera:
    url: str
    file: Path
    codec: str
    process: asyncio.subprocess.Process

    def heard(self) -> bytes:
        """What came over the back channel, as 16 bit samples at 8 kHz."""
        raw = _CODECS[self.codec][1]
        command = [str(peer("ffmpeg")), "-v", "error", "-f", raw, "-ar", "8000", "-ac", "1", "-i", str(self.file)]
        command += ["-f", "s16le", "-"]
        return subprocess.run(command, capture_output=True, check=True).stdout

    @property
    def seconds(self) -> float:
        """How long that is."""
        return self.file.stat().st_size / 8000 if self.file.exists() else 0.0


@asynccontextmanager
async def _camera(folder: Path, codec: str = "PCMU", *, back_channel: bool = True) -> AsyncIterator[TalkingCamera]:
    file = folder / "heard.raw"
    program = Path(__file__).with_name("onvif_camera.py")
    # The bindings belong to the system's Python, not to this one.
    server = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", str(program), str(file), _CODECS[codec][0] if back_channel else "none", codec,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        async with asyncio.timeout(10):
            port = (await server.stdout.readline()).decode().strip()
        if not port:
            absent("GStreamer's RTSP server is absent: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0")
        yield TalkingCamera(f"rtsp://127.0.0.1:{port}/yard", file, codec, server)
    finally:
        if server.returncode is None:
            server.kill()
        while await server.stdout.read(65536):
            pass
        await server.wait()


def _loudspeaker(url: str, **settings: Any) -> Any:
    return make_driver(url, password="s3cret", talk=True, **settings).devices()["cam"].handle


def _loudness(path: Path) -> float:
    command = [str(peer("ffmpeg")), "-v", "error", "-i", str(path), "-ar", "8000", "-ac", "1", "-f", "s16le", "-"]
    return rms(subprocess.run(command, capture_output=True, check=True).stdout)


async def _arrives(camera: TalkingCamera, seconds: float, within: float) -> None:
    """GStreamer writes the last block when the session is over, a moment after the client knows that it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while camera.seconds != pytest.approx(seconds, abs=within):
                await asyncio.sleep(0.02)
    assert camera.seconds == pytest.approx(seconds, abs=within)


def _told(evidence: str) -> float:
    """The seconds of `played 2.00 s in …`."""
    return float(evidence.split()[1])


def test_it_is_a_loudspeaker_only_if_it_is_told_so() -> None:
    assert abilities_of(make_driver("rtsp://h/").devices()["cam"].handle) == ("camera",)
    device = make_driver("rtsp://h/", talk=True).devices()["cam"]
    assert device.kind == "camera"
    assert abilities_of(device.handle) == ("loudspeaker", "file_player", "live_player", "camera")


@pytest.mark.parametrize("codec", _CODECS)
async def test_a_file_arrives_whole_in_real_time_and_as_loud(tmp_path: Path, codec: str) -> None:
    tone = make_tone(tmp_path / "tone.wav", 2.0)
    async with _camera(tmp_path, codec) as camera:
        started = time.monotonic()
        evidence = await _loudspeaker(camera.url).play_from(str(tone), None, 0)
        assert time.monotonic() - started == pytest.approx(2.7, abs=0.6)
        assert evidence.startswith("played 2.00 s")
        await _arrives(camera, 2.0, 0.02)
        assert rms(camera.heard()) == pytest.approx(_loudness(tone), rel=0.02)


@pytest.mark.parametrize("codec", _CODECS)
async def test_a_live_voice_goes_out_as_it_is_spoken(tmp_path: Path, codec: str) -> None:
    async with _camera(tmp_path, codec) as camera:
        speaker, voice = _loudspeaker(camera.url), Tone(50)
        assert isinstance(speaker, LivePlayer)
        playing = asyncio.create_task(speaker.play_live(voice, None))
        async with asyncio.timeout(5):
            while speaker.position_seconds < 0.4:
                await asyncio.sleep(0.01)
        before = speaker.position_seconds
        voice.on.set()
        while not voice.began:
            await asyncio.sleep(0.001)
        # A packet leaves as soon as it is full; what a camera holds back on top is its own.
        assert speaker.position_seconds - before < 0.1
        evidence = await playing
        await _arrives(camera, _told(evidence), 0.03)
        heard = camera.heard()
        loud = [at for at in range(0, len(heard), 320) if rms(heard[at : at + 320]) > 0.2]
        assert len(loud) == pytest.approx(50, abs=2)
        assert rms(heard[loud[1] : loud[-1]]) == pytest.approx(16000 / 32768 / 2**0.5, rel=0.03)


async def test_a_wrong_path(tmp_path: Path) -> None:
    async with _camera(tmp_path) as camera:
        with pytest.raises(Refused, match="404"):
            await _loudspeaker(f"{camera.url}2").play_from(str(make_tone(tmp_path / "tone.wav", 0.5)), None, 0)


async def test_a_text_is_spoken_and_the_volume_kept(tmp_path: Path) -> None:
    peer("espeak-ng")
    async with _camera(tmp_path) as camera:
        speaker = _loudspeaker(camera.url, volume=50)
        evidence = await speaker.say("请注意，今天夜间有大雨。", 100)
        await _arrives(camera, _told(evidence), 0.05)
        loud, seconds = rms(camera.heard()), camera.seconds
        assert seconds > 1.5
        assert loud > 0.02
        await speaker.say("请注意，今天夜间有大雨。", None)
        await _arrives(camera, seconds, 0.03)
        # 50 % is -18 dB; what is quieter than the coarsest step of G.711 is lost.
        assert rms(camera.heard()) == pytest.approx(loud / 8, rel=0.2)


async def test_stopped_and_resumed_where_it_stopped(tmp_path: Path) -> None:
    tone = str(make_tone(tmp_path / "tone.wav", 1.6))
    async with _camera(tmp_path) as camera:
        speaker = _loudspeaker(camera.url)
        playing = asyncio.create_task(speaker.play_from(tone, None, 0))
        while speaker.position_seconds < 0.5:
            await asyncio.sleep(0.01)
        await speaker.stop()
        with pytest.raises(Refused, match="stopped after"):
            await playing
        at = speaker.position_seconds
        await _arrives(camera, at, 0.05)
        await speaker.play_from(tone, None, at)
        await _arrives(camera, 1.6 - at, 0.05)


async def test_a_picture_is_taken_while_it_talks_and_readings_tell(tmp_path: Path) -> None:
    async with _camera(tmp_path) as camera:
        driver, report = make_driver(camera.url, password="s3cret", talk=True, volume=70), Recorder()
        handle: Any = driver.devices()["cam"].handle
        async with running(driver, report):
            await report.until(lambda: bool(report.history))
            playing = asyncio.create_task(handle.play_from(str(make_tone(tmp_path / "tone.wav", 3)), None, 0))
            await report.until(lambda: {"busy": True, "volume_percent": 70} in report.fields)
            assert (await handle.snapshot()).startswith(b"\xff\xd8")
            await playing
            await report.until(lambda: report.fields[-1] == {"busy": False, "volume_percent": 70})
        assert report.history[-1][:2] == ("ok", "works")


async def test_the_end_of_the_driver_ends_the_sound(tmp_path: Path) -> None:
    async with _camera(tmp_path) as camera:
        driver = make_driver(camera.url, password="s3cret", talk=True)
        handle: Any = driver.devices()["cam"].handle
        async with running(driver, Recorder()):
            playing = asyncio.create_task(handle.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
            while not handle.position_seconds:
                await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="stopped after"):
            await playing


async def test_a_wrong_password(tmp_path: Path) -> None:
    async with _camera(tmp_path) as camera:
        wrong: Any = make_driver(camera.url, password="wrong", talk=True).devices()["cam"].handle
        with pytest.raises(NotConnected) as caught:
            await wrong.play_from(str(make_tone(tmp_path / "tone.wav", 0.5)), None, 0)
        assert caught.value.code == "unauthorised"
        assert "wrong" not in str(caught.value)


async def test_a_camera_without_loudspeaker(tmp_path: Path) -> None:
    async with _camera(tmp_path, back_channel=False) as camera:
        with pytest.raises(Refused, match="knows no back channel") as caught:
            await _loudspeaker(camera.url).play_from(str(make_tone(tmp_path / "tone.wav", 0.5)), None, 0)
        assert caught.value.code == "rejected"


async def test_a_camera_that_dies_while_it_is_talked_to(tmp_path: Path) -> None:
    async with _camera(tmp_path) as camera:
        speaker = _loudspeaker(camera.url)
        playing = asyncio.create_task(speaker.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
        while speaker.position_seconds < 0.3:
            await asyncio.sleep(0.01)
        camera.process.kill()
        with pytest.raises(NotConnected) as caught:
            async with asyncio.timeout(5):
                await playing
        assert caught.value.code == "unreachable"
        assert speaker.position_seconds >= 0.3


async def test_no_camera_and_one_that_says_nothing(tmp_path: Path) -> None:
    tone = str(make_tone(tmp_path / "tone.wav", 0.5))
    with pytest.raises(NotConnected) as caught:
        await _loudspeaker(f"rtsp://127.0.0.1:{free_port()}/").play_from(tone, None, 0)
    assert caught.value.code == "unreachable"

    def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        url = f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(NotConnected) as caught:
            await _loudspeaker(url, connect_seconds=0.5).play_from(tone, None, 0)
    finally:
        server.close()
        for writer in held:
            writer.close()
    assert caught.value.code == "no_answer"
