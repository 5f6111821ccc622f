"""Child processes of drivers: found, started, watched and ended.

Decoding sound and video happens in children, so that the agent stays small and a crash of a decoder harms nobody else.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from village_drivers.kit import Misconfigured, NotConnected

HOW_TO_INSTALL: Mapping[str, str] = {
    "ffmpeg": "apt-get install ffmpeg",
    "espeak-ng": "apt-get install espeak-ng",
    "aplay": "apt-get install alsa-utils",
    "arecord": "apt-get install alsa-utils",
    "parec": "apt-get install pulseaudio-utils",
    "pacat": "apt-get install pulseaudio-utils",
    "pactl": "apt-get install pulseaudio-utils",
}
#: What is kept of a child's complaints: its last lines name the cause.
STDERR_TAIL_BYTES = 2048
#: Evidence goes over 4G and into a table cell.
EVIDENCE_CHARACTERS = 300
#: A killed process is gone within milliseconds, unless it hangs in the kernel (an unplugged USB device): then it is left to init.
_REAP_SECONDS = 2.0
_CHUNK = 64 * 1024


async def find_program(name: str) -> str:
    """Return the path of a program on PATH; for `ffmpeg` also the one that the package imageio-ffmpeg ships.

    Raises:
        Misconfigured: `program_missing`; the text names the program and how to install it.
    """
    return await asyncio.to_thread(_find, name)


def _find(name: str) -> str:
    found = shutil.which(name)
    if found is None and name == "ffmpeg":
        with suppress(ImportError, RuntimeError):
            import imageio_ffmpeg  # type: ignore[import-untyped]

            found = imageio_ffmpeg.get_ffmpeg_exe()
    if found is None:
        raise Misconfigured("program_missing", f"{name} is not installed: {HOW_TO_INSTALL.get(name, 'install it')}")
    return found


_Stream = TypeVar("_Stream")


def _present(stream: _Stream | None) -> _Stream:
    if stream is None:
        raise ValueError("the child was started without this pipe")
    return stream


class Child:
    """A running child in a process group of its own. Made by `child`."""

    def __init__(self, name: str, process: Process, hear: Callable[[bytes], bytes] = bytes) -> None:
        self.name = name
        self.process = process
        self._hear = hear
        self._tail = b""
        self._cut = False
        self._listener = asyncio.create_task(self._listen(), name=f"stderr of {name}")

    @property
    def stdout(self) -> asyncio.StreamReader:
        """The child's output; only where it was started with `stdout=PIPE`."""
        return _present(self.process.stdout)

    async def complaints(self, hide: Callable[[str], str] = str) -> str:
        """Wait for the end of the child and return its last words on stderr in one line, cut to `EVIDENCE_CHARACTERS`.

        `hide` takes secrets out of the text before it is cut.
        """
        await asyncio.shield(self._listener)
        tail = self._tail
        if self._cut:
            # Half a line may hold half a secret, which `hide` does not know.
            tail = tail.partition(b"\n")[2]
        lines = (line.strip() for line in hide(tail.decode(errors="replace")).splitlines())
        return "; ".join(line for line in lines if line)[-EVIDENCE_CHARACTERS:]

    async def ended(self) -> int:
        """Wait for the end and return the exit status; negative for a signal."""
        return await self.process.wait()

    async def kill(self) -> None:
        """End the child's whole group at once and collect it. Harmless when it has ended."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(_REAP_SECONDS):
                # A paused pipe notices its end only when it is emptied.
                while self.process.stdout is not None and await self.process.stdout.read(_CHUNK):
                    pass
                await self.process.wait()
                await self._listener
        except TimeoutError:
            self._listener.cancel()
        finally:
            # asyncio closes it only at the end of all pipes, for which a cancelled caller does not wait.
            self.process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001

    async def _listen(self) -> None:
        stream = _present(self.process.stderr)
        while piece := await stream.read(_CHUNK):
            chunk = self._hear(piece)
            self._cut = self._cut or len(self._tail) + len(chunk) > STDERR_TAIL_BYTES
            self._tail = (self._tail + chunk)[-STDERR_TAIL_BYTES:]


@asynccontextmanager
async def child(
    name: str,
    *arguments: str,
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    feed: bytes = b"",
    limit: int = _CHUNK,
    hear: Callable[[bytes], bytes] = bytes,
) -> AsyncIterator[Child]:
    """Run a program for the length of the context; leaving it kills the child, in whatever way it is left.

    `feed` goes to its stdin, which is then closed: the place for secrets, since arguments stand in the process list.
    `limit` bounds one line of `stdout`. `hear` gets each piece of stderr at once and returns what of it is a complaint. Messages come in English, whatever the system's language.

    Raises:
        Misconfigured: `program_missing`.
        NotConnected: `program_failed`, the system could not start it.
    """
    path = await find_program(name)
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=PIPE if feed else stdin,
            stdout=stdout,
            stderr=PIPE,
            limit=limit,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
    except OSError as error:
        raise NotConnected("program_failed", f"{name} does not start: {error}") from error
    running = Child(name, process, hear)
    try:
        if feed:
            stdin_writer = _present(process.stdin)
            stdin_writer.write(feed)
            stdin_writer.close()
        yield running
    finally:
        await running.kill()


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program that ran to its end left behind."""

    status: int
    stdout: bytes
    stderr: str


async def run_program(
    name: str, *arguments: str, feed: bytes = b"", seconds: float, limit: int, hide: Callable[[str], str] = str
) -> Finished:
    """Run a program to its end. `hide` takes secrets out of what is kept of its stderr.

    Raises:
        Misconfigured: `program_missing`.
        NotConnected: `program_failed`, it did not start, ran longer than `seconds`, or wrote more than `limit` bytes.
    """
    output = bytearray()
    async with child(name, *arguments, stdout=PIPE, feed=feed) as running:
        try:
            async with asyncio.timeout(seconds):
                while chunk := await running.stdout.read(_CHUNK):
                    output += chunk
                    if len(output) > limit:
                        raise NotConnected("program_failed", f"{name} wrote more than {limit} bytes")
                return Finished(await running.ended(), bytes(output), await running.complaints(hide))
        except TimeoutError:
            raise NotConnected("program_failed", f"{name} did not finish in {seconds:g} s") from None
