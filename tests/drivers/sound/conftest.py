"""Sound for the tests: made files, and a private PulseAudio with one sink that can be recorded."""

from __future__ import annotations

import asyncio
import math
import struct
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers import peer

RATE = 48_000


def rms(samples: bytes) -> float:
    """Root mean square of 16 bit samples, 1.0 being full scale."""
    values = struct.unpack(f"<{len(samples) // 2}h", samples[: len(samples) // 2 * 2])
    return math.sqrt(sum(value * value for value in values) / max(1, len(values))) / 32768


def read_wav(path: Path) -> bytes:
    """The samples as Python's own reader sees them."""
    with wave.open(str(path), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return file.readframes(file.getnframes())


def make_tone(path: Path, seconds: float, amplitude: float = 0.5) -> Path:
    """A 440 Hz sine as stereo at 22.05 kHz: what has to be converted."""
    rate = 22_050
    frames = (int(32767 * amplitude * math.sin(2 * math.pi * 440 * n / rate)) for n in range(int(rate * seconds)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<hh", value, value) for value in frames))
    return path


def null_sink(name: str) -> str:
    """The module that is a sound card, with its arguments.

    With `norewinds` it runs in blocks of 50 ms; else it stalls for up to 2 s when a client comes, as no sound card does.
    """
    return f"module-null-sink sink_name={name} rate={RATE} channels=1 norewinds=1"


@dataclass
class Pulse:
    """A running PulseAudio with the sink `horn`."""

    server: str
    folder: Path
    daemon: asyncio.subprocess.Process

    async def pactl(self, *words: str) -> str:
        """Run a command of the sound server and return what it says."""
        program = await asyncio.create_subprocess_exec(
            str(peer("pactl")), f"--server={self.server}", *words, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await program.communicate()
        assert program.returncode == 0, words
        return said.decode()

    async def load(self, sink: str) -> None:
        """Plug a sound card in."""
        await self.pactl("load-module", *null_sink(sink).split())

    async def unload(self, sink: str) -> None:
        """Unplug one."""
        modules = [line.split("\t") for line in (await self.pactl("list", "short", "modules")).splitlines()]
        await self.pactl("unload-module", next(row[0] for row in modules if f"sink_name={sink} " in f"{row[2]} "))

    async def kill(self) -> None:
        """End the sound server at once."""
        self.daemon.kill()
        await self.daemon.wait()

    async def start(self) -> None:
        """Start it again."""
        self.daemon = await _daemon(self.folder, self.folder / "socket")

    async def record(self, seconds: float, sink: str = "horn") -> bytes:
        """Record what a sink plays, from now on."""
        recorder = await asyncio.create_subprocess_exec(
            "parec", f"--server={self.server}", f"--device={sink}.monitor", "--raw", "--format=s16le", f"--rate={RATE}",
            "--channels=1", "--latency-msec=20", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert recorder.stdout is not None
        try:
            return await recorder.stdout.readexactly(int(seconds * RATE) * 2)
        finally:
            recorder.kill()
            while await recorder.stdout.read(65536):
                pass
            await recorder.wait()


@pytest_asyncio.fixture
async def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pulse]:
    folder = tmp_path / "pulse"
    folder.mkdir(mode=0o700)
    socket = folder / "socket"
    for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{socket}")
    found = Pulse(f"unix:{socket}", folder, await _daemon(folder, socket))
    try:
        yield found
    finally:
        if found.daemon.returncode is None:
            found.daemon.kill()
        await found.daemon.wait()


async def _daemon(folder: Path, socket: Path) -> asyncio.subprocess.Process:
    socket.unlink(missing_ok=True)
    with (folder / "log").open("ab") as log:
        daemon = await asyncio.create_subprocess_exec(
            str(peer("pulseaudio")), "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
            "-L", null_sink("horn"), "-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1",
            stderr=log,
        )  # fmt: skip
    async with asyncio.timeout(10):
        while not socket.exists():
            assert daemon.returncode is None, (folder / "log").read_text()
            await asyncio.sleep(0.02)
    return daemon
