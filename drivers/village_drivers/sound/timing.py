"""When a byte that is written to a player will be heard. Times are of `time.monotonic`."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Protocol

from village_drivers.sound.pcm import BYTES_PER_SECOND, SAMPLE_BYTES
from village_drivers.sound.pulse_device import PulseDevice

#: So many observations are needed; each may be late by as much as the processor is busy, none is early.
_ENOUGH, _KEPT = 5, 20
#: So many know of a gap already.
_RECENT = 3
#: The first positions that PulseAudio tells are guesses.
_SETTLED_SECONDS = 0.05
_HELD_BYTES = 4096
_TIME = re.compile(rb"Time: ([0-9.]+) sec; Latency: -?[0-9]+ usec")
_SIZE = re.compile(rb"^\s*(buffer|period)_size\s*:\s*([0-9]+)\s*$", re.MULTILINE)
#: What is a complaint in what a player says when it tells everything.
_COMPLAINT = re.compile(rb"fail|error|aplay:|ALSA lib", re.IGNORECASE)


class Timing(Protocol):
    """Learns while a player takes silence."""

    @property
    def origin(self) -> float | None:
        """When the first byte was heard, as if all since had followed it without a gap; None while that is not known."""

    @property
    def heard_from(self) -> float | None:
        """As `origin` since the last gap, rather too late than too early; None where only `origin` can be known."""

    def hear(self, piece: bytes) -> bytes:
        """Take what the player says, and return what of it is a complaint."""

    def took(self, at: float, before: int) -> None:
        """At that time the player took more, after it had taken `before` bytes."""


class _Observations:
    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=_KEPT)
        self._line = b""

    @property
    def origin(self) -> float | None:
        if len(self._seen) < _ENOUGH:
            return None
        return sorted(self._seen)[len(self._seen) // 4]

    def _lines(self, piece: bytes) -> list[bytes]:
        """The lines that are whole."""
        *lines, rest = (self._line + piece).replace(b"\r", b"\n").split(b"\n")
        self._line = rest[-_HELD_BYTES:]
        return lines

    def _observe(self, at: float, heard_seconds: float) -> None:
        self._seen.append(at - heard_seconds)


class PulseTiming(_Observations):
    """`pacat --verbose` tells each 50 ms how much PulseAudio has played, in milliseconds."""

    def __init__(self, device: PulseDevice) -> None:
        """`device` learns where it comes out."""
        super().__init__()
        self._device = device

    @property
    def heard_from(self) -> float | None:
        """See `Timing`."""
        recent = list(self._seen)[-_RECENT:]
        return max(recent) if len(recent) == _RECENT else None

    def hear(self, piece: bytes) -> bytes:
        """See `Timing`."""
        now = time.monotonic()
        for told in _TIME.findall(piece):
            if float(told) > _SETTLED_SECONDS:
                self._observe(now, float(told))
        lines = self._lines(piece)
        for line in lines:
            self._device.look(line)
        return b"".join(line + b"\n" for line in lines if _COMPLAINT.search(line))

    def took(self, at: float, before: int) -> None:
        """See `Timing`. It takes more whenever it likes."""


class CardTiming(_Observations):
    """`aplay` takes a period from the pipe when the one before it has gone into the card's full buffer.

    `aplay --verbose` tells how large both are; until then they are what was asked for.
    """

    #: The card's own delay is not known.
    heard_from = None

    def __init__(self, buffer_seconds: float) -> None:
        super().__init__()
        self._buffer = int(buffer_seconds * BYTES_PER_SECOND)
        self._period = self._buffer // 4
        self._told: set[bytes] = set()

    def hear(self, piece: bytes) -> bytes:
        """See `Timing`."""
        lines = self._lines(piece)
        for name, frames in _SIZE.findall(b"\n".join(lines)):
            # Of several devices, one behind the other, the first is the one that it writes to.
            if name in self._told:
                continue
            self._told.add(name)
            if name == b"buffer":
                self._buffer = int(frames) * SAMPLE_BYTES
            else:
                self._period = int(frames) * SAMPLE_BYTES
        return b"".join(line + b"\n" for line in lines if _COMPLAINT.search(line))

    def took(self, at: float, before: int) -> None:
        """See `Timing`."""
        given = before // self._period * self._period
        if given > self._buffer:
            self._observe(at, (given - self._buffer) / BYTES_PER_SECOND)
