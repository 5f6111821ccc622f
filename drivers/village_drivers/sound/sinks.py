"""Where sound goes: a sound card, PulseAudio, or a file that takes it as slowly as a loudspeaker would."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from village_drivers.kit import NotConnected
from village_drivers.programs import Child, child
from village_drivers.sound.output import Output
from village_drivers.sound.pcm import BYTES_PER_SECOND, RATE, SAMPLE_BYTES, seconds
from village_drivers.sound.pulse_device import PulseDevice
from village_drivers.sound.timing import CardTiming, PulseTiming, Timing
from village_drivers.sound.wav_file import WavFile

#: The player's buffer, which bridges pauses of a busy box; that of a live voice is shorter, since it delays every word.
BUFFER_SECONDS, LIVE_BUFFER_SECONDS = 0.2, 0.08
#: To begin at a given moment: two programs start, which takes a small box half a second, and the player's pace shows in half a second.
AHEAD_SECONDS = 1.2
#: A player that does not show its pace by then never will.
_SPEECHLESS_SECONDS = 1.0
_PIPE_BYTES = 4096
#: Silence while it is waited for the time to begin, 10 ms.
_STEP = bytes(BYTES_PER_SECOND // 100)
#: A card that takes nothing for so long is gone, even if its driver does not say so.
_STALL_SECONDS = 5.0
#: A file falls behind its schedule by a busy processor; more than this is a pause, not a delay to catch up.
_LATE_SECONDS = 0.1


class Sink(Protocol):
    """Takes sound at the pace at which it is heard. A sink that is left without `finish` falls silent at once."""

    @property
    def heard_bytes(self) -> int:
        """How much has sounded, as far as can be known."""

    async def write(self, block: bytes) -> None:
        """Take one block and return when there is room for the next. Raises `NotConnected` when the output is lost."""

    async def finish(self) -> None:
        """Return when the last sample has sounded. Raises `NotConnected` as `write`."""


class TimedSink(Sink, Protocol):
    """A sink that knows when it is heard."""

    async def align(self, at: float) -> float:
        """Be silent until what is written next will be heard at `at`, a time of `time.monotonic`; return when it will be heard.

        That is later where the time is too short. Raises `NotConnected` as `write`.
        """


@asynccontextmanager
async def open_sink(
    output: Output, buffer_seconds: float = BUFFER_SECONDS, *, timed: bool = False
) -> AsyncIterator[TimedSink]:
    """Open an output for one sound, of which `buffer_seconds` lie in the player's buffer. `align` needs it `timed`.

    Raises:
        Misconfigured: its program is missing, or its file is another's.
        NotConnected: it can't be opened.
    """
    if output.kind == "file":
        file = await asyncio.to_thread(WavFile, Path(output.target))
        try:
            yield _FileSink(file)
        finally:
            await asyncio.shield(asyncio.to_thread(file.close))
        return
    name, *arguments = player(output, buffer_seconds)
    device = PulseDevice(output.target)
    timing: Timing = CardTiming(buffer_seconds) if output.kind == "alsa" else PulseTiming(device)
    # `pacat` tells only so where it plays.
    talks = timed or output.kind == "pulse"
    hear = timing.hear if talks else bytes
    verbose = ("--verbose",) if talks else ()
    reading, writing = os.pipe()
    pipe = _Pipe(writing)
    try:
        async with child(name, *verbose, *arguments, stdin=reading, hear=hear) as running:
            # Only the player's end is left, so that writing fails when the player has ended.
            os.close(reading)
            reading = -1
            yield _PlayerSink(running, pipe, str(output), buffer_seconds, timing, device)
    finally:
        if reading >= 0:
            os.close(reading)
        pipe.close()


def player(output: Output, buffer_seconds: float = BUFFER_SECONDS) -> tuple[str, ...]:
    """Return the command that plays what comes on its stdin."""
    if output.kind == "alsa":
        microseconds = str(int(buffer_seconds * 1e6))
        return (
            "aplay", "-q", "-D", output.target, "-t", "raw", "-f", "S16_LE", "-r", str(RATE), "-c", "1",
            "--buffer-time", microseconds,
        )  # fmt: skip
    device = (f"--device={output.target}",) if output.target else ()
    return (
        "pacat", "--playback", *device, "--raw", "--format=s16le", f"--rate={RATE}", "--channels=1",
        f"--latency-msec={int(buffer_seconds * 1000)}", "--client-name=village-agent", "--stream-name=loudspeaker",
    )  # fmt: skip


class _Pipe:
    """The writing end of a pipe that keeps little, so that little sounds on after a stop."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        #: When it last had room after it had been full.
        self.room_at: float | None = None
        # The default of 64 KiB would hide 0.7 s of sound.
        fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(handle, False)

    async def write(self, block: memoryview) -> int:
        while True:
            try:
                return os.write(self._handle, block)
            except BlockingIOError:
                await self._writable()
                self.room_at = time.monotonic()

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._handle, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._handle)


class _PlayerSink:
    def __init__(
        self,
        running: Child,
        pipe: _Pipe,
        output: str,
        buffer_seconds: float,
        timing: Timing,
        device: PulseDevice,
    ) -> None:
        self._device = device
        self._child = running
        self._pipe = pipe
        self._timing = timing
        self._output = output
        #: What lies between us and the ear: the player's buffer, the quarter of it that `aplay` reads ahead, one page of pipe.
        self._on_the_way = int(1.25 * buffer_seconds * BYTES_PER_SECOND) // 2 * 2 + _PIPE_BYTES
        #: What of that is not heard any more when the player is killed: a sink has some of it already, as recordings of sounds that
        #: were cut off show. PulseAudio gives a shorter buffer than it was asked for, and leaves nothing in the pipe.
        unheard = 1.15 * buffer_seconds if running.name == "aplay" else 0.95 * buffer_seconds
        self._unheard = int(unheard * BYTES_PER_SECOND) // 2 * 2 + (_PIPE_BYTES if running.name == "aplay" else 0)
        #: Of `_written`, the silence before the sound and the sound itself.
        self._before = self._sound = 0
        self._written = 0
        self._started: float | None = None

    @property
    def heard_bytes(self) -> int:
        heard, since = self._written - self._unheard, self._timing.heard_from
        if since is not None:
            heard = min(self._written, round((time.monotonic() - since) * RATE) * SAMPLE_BYTES)
        return max(0, min(self._sound, heard - self._before))

    async def align(self, at: float) -> float:
        self._started = time.monotonic()
        while True:
            origin = self._timing.origin
            if origin is not None:
                missing = round((at - origin) * RATE) * SAMPLE_BYTES - self._written
                if missing <= len(_STEP):
                    await self._push(bytes(max(0, missing)))
                    self._before = self._written
                    return origin + seconds(self._written)
            elif time.monotonic() > max(at, self._started) + _SPEECHLESS_SECONDS:
                self._before = self._written
                return time.monotonic() + seconds(self._on_the_way)
            await self._push(_STEP)

    async def write(self, block: bytes) -> None:
        if self._started is None:
            self._started = time.monotonic()
        self._sound += len(block)
        await self._push(block)

    async def finish(self) -> None:
        # Silence pushes the last sample out. Draining instead takes PulseAudio two seconds more.
        await self._push(bytes(self._on_the_way))
        wanted, taken = seconds(self._written), time.monotonic() - (self._started or 0)
        if wanted > 2 and taken < wanted / 2:
            # ALSA's null device, for example: nothing sounded.
            raise NotConnected(
                "program_failed", f"{self._output} took {wanted:.1f} s of sound in {taken:.1f} s: no real loudspeaker"
            )

    async def _push(self, samples: bytes) -> None:
        rest = memoryview(samples)
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                while rest:
                    if self._device.astray:
                        raise NotConnected(
                            "program_failed",
                            f"{self._output} is gone: PulseAudio plays on {self._device.astray} instead",
                        )
                    self._pipe.room_at = None
                    size = await self._pipe.write(rest)
                    if self._pipe.room_at is not None:
                        self._timing.took(self._pipe.room_at, self._written)
                    rest = rest[size:]
                    self._written += size
        except BrokenPipeError:
            raise await self._failure() from None
        except TimeoutError:
            raise self._stalled() from None

    async def _failure(self) -> NotConnected:
        return NotConnected("program_failed", f"{self._output}: {await self._child.complaints() or 'the player ended'}")

    def _stalled(self) -> NotConnected:
        return NotConnected("program_failed", f"{self._output} took no sound for {_STALL_SECONDS:g} s")


class _FileSink:
    def __init__(self, file: WavFile) -> None:
        self._file = file
        self._written = 0
        self._due: float | None = None

    @property
    def heard_bytes(self) -> int:
        return self._written

    async def align(self, at: float) -> float:
        self._due = max(at, time.monotonic())
        await asyncio.sleep(self._due - time.monotonic())
        return self._due

    async def write(self, block: bytes) -> None:
        now = time.monotonic()
        if self._due is None or now - self._due > _LATE_SECONDS:
            self._due = now
        await asyncio.sleep(self._due - now)
        await asyncio.to_thread(self._file.append, block)
        self._written += len(block)
        self._due += seconds(len(block))

    async def finish(self) -> None:
        if self._due is not None:
            await asyncio.sleep(self._due - time.monotonic())
