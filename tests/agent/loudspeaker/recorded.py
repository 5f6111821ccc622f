"""Sound whose every place can be told from a recording: a tone that rises steadily."""

from __future__ import annotations

import array
import asyncio
import hashlib
import math
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.drivers.sound.conftest import RATE, Pulse
from village_wire.broadcasts import Audio

#: The tone begins at so many hertz and rises by so many each second.
LOWEST, RISE = 400.0, 150.0
_BLOCK = RATE // 200
_LOUD = 1000


def write_wav(path: Path, samples: array.array[int]) -> Audio:
    """Write 16 bit samples and return what a command says of the file, which is renamed to its hash."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    path.rename(path.with_name(digest))
    return Audio(sha256=digest, bytes=len(content), seconds=len(samples) / RATE, token="t")


def rising(seconds: float) -> array.array[int]:
    """A tone that rises."""
    times = (index / RATE for index in range(int(seconds * RATE)))
    return array.array("h", (int(9000 * math.sin(math.tau * (LOWEST + RISE / 2 * at) * at)) for at in times))


def steady(seconds: float, hertz: float) -> array.array[int]:
    """A tone that does not change."""
    return array.array("h", (int(9000 * math.sin(math.tau * hertz * n / RATE)) for n in range(int(seconds * RATE))))


def segments(samples: array.array[int], pause: float = 0.03) -> list[tuple[int, int]]:
    """Where it sounds: first and last sample of each stretch that has no silence longer than `pause`."""
    found: list[list[int]] = []
    for begin in range(0, len(samples) - _BLOCK + 1, _BLOCK):
        if max(map(abs, samples[begin : begin + _BLOCK])) < _LOUD:
            continue
        if not found or begin - found[-1][1] > pause * RATE:
            found.append([begin, begin + _BLOCK])
        found[-1][1] = begin + _BLOCK
    return [(begin, end) for begin, end in found]


def hertz(samples: array.array[int], begin: int, end: int) -> float:
    """The frequency between two samples, by the first and the last rise through zero."""
    crossings = [
        index + samples[index] / (samples[index] - samples[index + 1])
        for index in range(begin, end - 1)
        if samples[index] < 0 <= samples[index + 1]
    ]
    return RATE * (len(crossings) - 1) / (crossings[-1] - crossings[0])


def place(samples: array.array[int], at: int, window: int = RATE // 20) -> float:
    """How many seconds of the rising tone had been heard at a sample, looking at `window` samples after (if positive) or before it."""
    first, last = sorted((at, at + window))
    middle = (hertz(samples, first, last) - LOWEST) / RISE
    return middle - window / 2 / RATE


@dataclass
class Tape:
    """What a sink played. `marks` are moments (monotonic) at which so many samples had come in."""

    samples: array.array[int] = field(default_factory=lambda: array.array("h"))
    marks: list[tuple[float, int]] = field(default_factory=list)

    def moment(self, sample: int) -> float:
        """When a sample had been played at the latest."""
        return next(at for at, count in self.marks if count > sample)


@asynccontextmanager
async def taping(pulse: Pulse) -> AsyncIterator[Tape]:
    """Record what the sink plays, from the start of the block on; the tape grows while it runs."""
    tape = Tape()
    recorder = await asyncio.create_subprocess_exec(
        "parec", f"--server={pulse.server}", "--device=horn.monitor", "--raw", "--format=s16le", f"--rate={RATE}",
        "--channels=1", "--latency-msec=10", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert recorder.stdout is not None
    stream = recorder.stdout
    rest = bytearray()

    async def read() -> None:
        while piece := await stream.read(4096):
            rest.extend(piece)
            whole = len(rest) // 2 * 2
            tape.samples.frombytes(bytes(rest[:whole]))
            del rest[:whole]
            tape.marks.append((time.monotonic(), len(tape.samples)))

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(10):
            while not tape.samples:
                await asyncio.sleep(0.01)
        yield tape
    finally:
        # One whose sink is gone has ended.
        with suppress(ProcessLookupError):
            recorder.kill()
        await reading
        await recorder.wait()
