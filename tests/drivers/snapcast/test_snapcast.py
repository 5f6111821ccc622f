"""The driver with a real snapserver and real snapclients, whose sound is recorded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.recorder import NoServices, Recorder, running
from tests.drivers.sound.conftest import make_tone, rms
from tests.drivers.sound.test_live import Tone
from tests.peers import free_port, peer
from village_drivers.abilities import LivePlayer, abilities_of
from village_drivers.kit import Misconfigured, NotConnected, Refused
from village_drivers.registry import DRIVERS
from village_drivers.snapcast.driver import Snapcast, SnapcastConfig

RATE = 48_000
BUFFER = 0.4
_BLOCK = RATE * 2 // 100


@dataclass
class Lan:
    """A snapserver with the stream `village` and its clients."""

    folder: Path
    control: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    source: int = field(default_factory=free_port)
    pipe: bool = False
    channels: int = 1
    server: asyncio.subprocess.Process | None = None
    clients: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self) -> None:
        uri = f"pipe://{self.folder}/fifo?mode=create&" if self.pipe else f"tcp://127.0.0.1:{self.source}?mode=server&"
        (self.folder / "snapserver.conf").write_text(
            f"[server]\ndatadir = {self.folder}\n[http]\nenabled = false\n"
            f"[tcp]\nenabled = true\nbind_to_address = 127.0.0.1\nport = {self.control}\n"
            f"[stream]\nbind_to_address = 127.0.0.1\nport = {self.port}\nbuffer = {BUFFER * 1000:.0f}\n"
            f"source = {uri}name=village&sampleformat=48000:16:{self.channels}&codec=pcm\n[logging]\nsink = null\n"
        )
        self.server = await asyncio.create_subprocess_exec(
            str(peer("snapserver")), "-c", str(self.folder / "snapserver.conf"),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        async with asyncio.timeout(10):
            while not await _listens(self.control):
                await asyncio.sleep(0.02)

    async def join(self, name: str) -> None:
        """Start a client, which writes what it plays into a file named after it."""
        self.clients[name] = await asyncio.create_subprocess_exec(
            str(peer("snapclient")), "-h", "127.0.0.1", "-p", str(self.port), "--hostID", name,
            "--player", f"file:filename={self.folder / name}", "--logsink", "null",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def leave(self, name: str) -> None:
        """Kill a client."""
        client = self.clients.pop(name)
        client.kill()
        await client.wait()

    def loud(self, name: str) -> list[float]:
        """The loudness of each 10 ms of a client that is not silence."""
        data = (self.folder / name).read_bytes()
        return [level for n in range(0, len(data), _BLOCK) if (level := rms(data[n : n + _BLOCK])) > 0.02]

    def seconds(self, name: str) -> float:
        """How long a client was loud."""
        return len(self.loud(name)) / 100


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _lan(folder: Path, *clients: str, pipe: bool = False, channels: int = 1) -> AsyncIterator[Lan]:
    lan = Lan(folder, pipe=pipe, channels=channels)
    try:
        await lan.start()
        for name in clients:
            await lan.join(name)
        yield lan
    finally:
        for process in (*lan.clients.values(), lan.server):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


def _driver(lan: Lan, **settings: Any) -> Snapcast:
    plain = {"id": "group", "driver": "snapcast", "port": lan.control, "stream": "village", "channels": 1}
    quick = {"buffer_seconds": BUFFER, "check_seconds": 0.2}
    return Snapcast(SnapcastConfig.model_validate(plain | quick | settings), NoServices())


@asynccontextmanager
async def _group(lan: Lan, clients: int = 2) -> AsyncIterator[tuple[Snapcast, Recorder]]:
    driver, report = _driver(lan), Recorder()
    async with running(driver, report):
        await report.until(lambda: report.history != [] and report.history[-1][2].startswith(f"{clients} of"))
        yield driver, report


def test_it_is_registered_and_speaks_and_plays() -> None:
    assert DRIVERS["snapcast"].load() is Snapcast
    device = Snapcast(SnapcastConfig(id="group", driver="snapcast"), NoServices()).devices()["group"]
    assert device.kind == "loudspeaker"
    assert abilities_of(device.handle) == ("loudspeaker", "file_player", "live_player")


@pytest.mark.parametrize("pipe", [False, True])
async def test_a_file_comes_out_of_every_client_whole_and_as_loud(tmp_path: Path, pipe: bool) -> None:
    async with _lan(tmp_path, "east", "west", pipe=pipe) as lan, _group(lan) as (driver, report):
        started = time.monotonic()
        evidence = await driver.play_from(str(make_tone(tmp_path / "tone.wav", 2.0)), None, 0)
        assert time.monotonic() - started == pytest.approx(2.0 + BUFFER, abs=0.5)
        assert evidence.startswith("played 2.00 s in ")
        assert evidence.endswith("on the snapcast stream village, 2 of 2 clients connected")
        assert driver.position_seconds == pytest.approx(2.0)
        for name in ("east", "west"):
            assert lan.seconds(name) == pytest.approx(2.0, abs=0.06)
            # ffmpeg makes mono of stereo without a change of level.
            assert sorted(lan.loud(name))[100] == pytest.approx(0.5 / 2**0.5, rel=0.02)
        assert report.history[-1][:2] == ("ok", "works")
        assert {"busy": True, "volume_percent": 100} in report.fields


@pytest.mark.parametrize("channels", [1, 2])
async def test_a_live_voice_is_heard_once_the_server_has_held_it_back(tmp_path: Path, channels: int) -> None:
    async with _lan(tmp_path, "east", "west", channels=channels) as lan:
        driver, report, voice = _driver(lan, channels=channels), Recorder(), Tone(50)
        assert isinstance(driver, LivePlayer)
        async with running(driver, report):
            await report.until(lambda: report.history != [] and report.history[-1][2].startswith("2 of"))
            playing = asyncio.create_task(driver.play_live(voice, None))
            await asyncio.sleep(1.0)
            assert (lan.loud("east"), driver.position_seconds > 0) == ([], True)
            voice.on.set()
            while not lan.loud("east"):
                await asyncio.sleep(0.01)
            heard = time.monotonic()
            evidence = await playing
        assert evidence.endswith(f"{BUFFER + 0.1:.2f} s after it came, 2 of 2 clients connected")
        assert heard - voice.began == pytest.approx(BUFFER + 0.1, abs=0.15)
        for name in ("east", "west"):
            assert lan.seconds(name) == pytest.approx(1.0 * channels, abs=0.06 * channels)


async def test_a_live_voice_that_is_stopped_is_silent_at_once(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east") as lan, _group(lan, 1) as (driver, _):
        voice = Tone(500)
        voice.on.set()
        playing = asyncio.create_task(driver.play_live(voice, None))
        while driver.position_seconds < 0.5:
            await asyncio.sleep(0.01)
        await driver.stop()
        before = lan.seconds("east")
        with pytest.raises(Refused, match="stopped after"):
            await playing
        await asyncio.sleep(BUFFER + 0.2)
        assert lan.seconds("east") < before + 0.2


async def test_a_text_is_spoken(tmp_path: Path) -> None:
    peer("espeak-ng")
    async with _lan(tmp_path, "east") as lan, _group(lan, 1) as (driver, _):
        assert "1 of 1 clients connected" in await driver.say("请注意，今天夜间有大雨。", None)
        assert lan.seconds("east") > 0.8


async def test_stop_silences_what_the_server_holds_and_what_follows_is_whole(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east", "west") as lan, _group(lan) as (driver, _):
        playing = asyncio.create_task(driver.play_from(str(make_tone(tmp_path / "long.wav", 20)), None, 0))
        while driver.position_seconds < 0.8:
            await asyncio.sleep(0.01)
        await driver.stop()
        with pytest.raises(Refused, match="stopped after"):
            await playing
        at = driver.position_seconds
        await driver.play_from(str(make_tone(tmp_path / "short.wav", 1.0, amplitude=0.25)), None, 0)
        for name in ("east", "west"):
            loud = lan.loud(name)
            first = [level for level in loud if level > 0.26]
            second = [level for level in loud if 0.14 < level < 0.22]
            assert len(first) / 100 == pytest.approx(at, abs=0.25)
            assert len(second) / 100 == pytest.approx(1.0, abs=0.08)


async def test_clients_that_leave_and_come_back_show(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east", "west") as lan, _group(lan) as (driver, report):
        await lan.leave("west")
        await report.until(lambda: report.history[-1][:2] == ("degraded", "device_offline"))
        assert report.history[-1][2] == "1 of 2 clients connected, missing: west"
        assert "1 of 2 clients" in await driver.play_from(str(make_tone(tmp_path / "tone.wav", 0.5)), None, 0)
        await lan.leave("east")
        await report.until(lambda: report.history[-1][:2] == ("down", "device_offline"))
        with pytest.raises(Refused) as caught:
            await driver.play_from(str(tmp_path / "tone.wav"), None, 0)
        assert caught.value.code == "device_offline"
        await lan.join("east")
        await lan.join("west")
        await report.until(lambda: report.history[-1][:2] == ("ok", "works"))


async def test_clients_that_leave_while_it_plays_leave_no_proof(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east") as lan, _group(lan, 1) as (driver, _):
        playing = asyncio.create_task(driver.play_from(str(make_tone(tmp_path / "tone.wav", 1.5)), None, 0))
        while driver.position_seconds < 0.3:
            await asyncio.sleep(0.01)
        await lan.leave("east")
        with pytest.raises(Refused) as caught:
            await playing
        assert caught.value.code == "device_offline"


async def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east") as lan:
        driver, report = _driver(lan), Recorder()
        with pytest.raises(NotConnected) as caught:
            async with running(driver, report) as task:
                await report.until(lambda: report.history[-1:] != [] and report.history[-1][0] == "ok")
                playing = asyncio.create_task(driver.play_from(str(make_tone(tmp_path / "tone.wav", 20)), None, 0))
                while driver.position_seconds < 0.3:
                    await asyncio.sleep(0.01)
                assert lan.server is not None
                lan.server.kill()
                await lan.server.wait()
                async with asyncio.timeout(5):
                    with pytest.raises((NotConnected, Refused)):
                        await playing
                    await task
        assert caught.value.code in ("unreachable", "program_failed")
        with pytest.raises(NotConnected, match="not connected"):
            await driver.play_from(str(tmp_path / "tone.wav"), None, 0)
        with pytest.raises(NotConnected):
            await driver.run(Recorder())
        await lan.start()
        async with running(driver, report):
            await report.until(lambda: report.history[-1][0] == "ok" and driver._control is not None)
            await driver.stop()


async def test_a_mute_that_was_left_behind_is_taken_away(tmp_path: Path) -> None:
    async with _lan(tmp_path, "east") as lan:
        async with _group(lan, 1) as (driver, _):
            await driver._mute(await driver._look(), mute=True)
        async with _group(lan, 1) as (driver, _):
            stream = await driver._look()
            assert not stream.clients[0].muted


@pytest.mark.parametrize(
    ("settings", "reason"), [({"stream": "music"}, "but village"), ({"channels": 2}, "48000:16:2")]
)
async def test_a_stream_that_does_not_fit(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    async with _lan(tmp_path) as lan:
        with pytest.raises(Misconfigured, match=reason):
            await _driver(lan, **settings).run(Recorder())
