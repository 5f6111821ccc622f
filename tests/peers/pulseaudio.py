"""A private PulseAudio with null sinks, and what they play, recorded from all of them on one clock."""

from __future__ import annotations

import array
import asyncio
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tests.peers import peer

RATE = 48_000
_START_SECONDS = 10.0
#: A block comes from a sink's thread through two processes; the quickest of so many seconds shows the sink's clock.
_WINDOW_SECONDS = 6.0


class PulseAudio:
    """Start it as a context; programs find it by `environment`."""

    def __init__(self, folder: Path, sinks: Sequence[str]) -> None:
        """`folder` is made; `sinks` are mono at `RATE`."""
        self.sinks = tuple(sinks)
        self._folder = folder
        self._socket = folder / "socket"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What programs need beside the rest."""
        home = {name: str(self._folder) for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")}
        return {**home, "PULSE_SERVER": f"unix:{self._socket}"}

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        # With `norewinds` a sink runs in blocks of 50 ms; else it stalls for up to 2 s when a client comes, as no sound card does.
        sinks = [
            word
            for name in self.sinks
            for word in ("-L", f"module-null-sink sink_name={name} rate={RATE} channels=1 norewinds=1")
        ]
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(peer("pulseaudio")), "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                "--disable-shm=yes", *sinks, "-L", f"module-native-protocol-unix socket={self._socket} auth-anonymous=1",
                stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip
        async with asyncio.timeout(_START_SECONDS):
            while not self._socket.exists():
                assert self._process.returncode is None, (self._folder / "log").read_text()
                await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    @contextmanager
    def recording(self, sinks: Sequence[str]) -> Iterator[list[Tape]]:
        """Record what sinks play (one may be named twice) while the block runs; the tapes grow meanwhile."""
        recorders = [self._recorder(name) for name in sinks]
        tapes = [Tape(name) for name in sinks]
        reader = threading.Thread(target=_read, args=(recorders, tapes), name="recorders", daemon=True)
        reader.start()
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not all(tape.marks for tape in tapes):
                assert time.monotonic() < deadline, "a recorder hears nothing"
                time.sleep(0.02)
            yield tapes
        finally:
            for recorder in recorders:
                recorder.kill()
            reader.join()
            for recorder in recorders:
                recorder.communicate()

    def _recorder(self, sink: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                str(peer("parec")), f"--device={sink}.monitor", "--raw", "--format=s16le", f"--rate={RATE}",
                "--channels=1", "--latency-msec=10",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **self.environment},
        )  # fmt: skip


class Tape:
    """What a sink played. `marks` are moments (monotonic) at which so many samples had come in."""

    def __init__(self, sink: str) -> None:
        self.sink = sink
        self.samples = array.array("h")
        self.marks: list[tuple[float, int]] = []
        self._rest = b""

    def add(self, at: float, piece: bytes) -> None:
        """Take what a recorder gave at a time."""
        whole = self._rest + piece
        size = len(whole) // 2 * 2
        self._rest = whole[size:]
        values = array.array("h", whole[:size])
        if sys.byteorder == "big":
            values.byteswap()
        self.samples.extend(values)
        self.marks.append((at, len(self.samples)))

    def since(self, at: float) -> int:
        """The first sample that came in after a time."""
        return next((count for moment, count in reversed(self.marks) if moment <= at), 0)

    def arrival(self, sample: int) -> float:
        """When a sample had come in, and so had been played at the latest."""
        return next(at for at, count in self.marks if count > sample)

    def moment(self, sample: float) -> float:
        """When a sample was played: by the quickest blocks around it, for delays come and go and the sink's clock does not."""
        middle = next((at for at, count in self.marks if count >= sample), self.marks[-1][0])
        offsets = [at - count / RATE for at, count in self.marks if abs(at - middle) < _WINDOW_SECONDS]
        return min(offsets) + sample / RATE


def _read(recorders: Sequence[subprocess.Popen[bytes]], tapes: Sequence[Tape]) -> None:
    with selectors.DefaultSelector() as selector:
        for recorder, tape in zip(recorders, tapes, strict=True):
            assert recorder.stdout is not None
            selector.register(recorder.stdout, selectors.EVENT_READ, tape)
        while selector.get_map():
            for key, _ in selector.select():
                piece = os.read(key.fd, 65536)
                if piece:
                    key.data.add(time.monotonic(), piece)
                else:
                    selector.unregister(key.fileobj)
