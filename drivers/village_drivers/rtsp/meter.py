"""Counts the packets of a stream from ffmpeg's packet log, without looking into a picture.

The log is that of ffmpeg's `framecrc` muxer: `stream, dts, pts, duration, size, crc[, F=0x<flags>][, …]`, the flags being
left out for a plain key frame, and a `#tb <stream>: <numerator>/<denominator>` line before (libavformat/framecrcenc.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from village_wire.points import Value

#: A line is some 60 characters; side data of a packet makes it longer.
MAX_LINE_BYTES = 4096
_PACKET = re.compile(rb"0, *(-?\d{1,19}), *-?\d{1,19}, *-?\d{1,19}, *(\d{1,10}), *0x[0-9a-f]{8}(.*)", re.DOTALL)
_FLAGS = re.compile(rb", F=0x([0-9A-Fa-f]{1,8})")
_TIME_BASE = re.compile(rb"#tb 0: (\d{1,9})/(\d{1,9})")
_KEY = 1


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. `time` counts in time bases of the stream, `size` in bytes."""

    time: int
    size: int
    key: bool


def parse_packet(line: bytes) -> Packet | None:
    """Return the packet that a line of the log tells of, or None for any other line."""
    found = _PACKET.match(line)
    if found is None:
        return None
    flags = _FLAGS.search(found[3])
    return Packet(int(found[1]), int(found[2]), flags is None or bool(int(flags[1], 16) & _KEY))


def parse_time_base(line: bytes) -> float | None:
    """Return the seconds of one time base if the line tells them."""
    found = _TIME_BASE.match(line)
    return int(found[1]) / int(found[2]) if found and int(found[2]) else None


class Meter:
    """Measures one stream in windows. Times are of one monotonic clock, in seconds."""

    def __init__(self, now: float) -> None:
        self._connected = now
        self._time_base = 0.0
        self.last_packet: float | None = None
        self.last_key: float | None = None
        self.next_window(now)

    def next_window(self, now: float) -> None:
        """Start to count anew; the ages go on."""
        self._began = now
        self._packets = self._keys = self._bytes = 0
        self._first: tuple[float, int] | None = None
        self._newest = 0

    def line(self, line: bytes, now: float) -> None:
        """Take one line of the log that came at `now`."""
        packet = parse_packet(line)
        if packet is None:
            self._time_base = parse_time_base(line) or self._time_base
            return
        self.last_packet = now
        if packet.key:
            self.last_key = now
        if self._first is None:
            self._first = (now, packet.time)
        self._newest = packet.time
        self._packets += 1
        self._keys += packet.key
        self._bytes += packet.size

    def reading(self, now: float) -> dict[str, Value]:
        """Return the fields of a `camera` reading, with the digits that mean something; an age that is not known is left out."""
        span = self._span(now)
        fields: dict[str, Value] = {
            "packets_per_s": round(self._packets / span, 1),
            "key_frames_per_min": round(self._keys * 60 / span, 1),
            "bits_per_s": round(self._bytes * 8 / span, -2),
        }
        if self.last_packet is not None:
            fields["packet_age_s"] = round(now - self.last_packet, 2)
        if self.last_key is not None:
            fields["key_frame_age_s"] = round(now - self.last_key, 2)
        return fields

    def _span(self, now: float) -> float:
        """What the packets of the window cover.

        ffmpeg holds the first second back while it analyses the stream: their own times tell then more than their arrival, but
        never more than the connection has lasted, for there are cameras with broken clocks.
        """
        if self._first is None:
            return max(now - self._began, 1e-3)
        arrived, stamp = self._first
        own = (self._newest - stamp) * self._time_base
        return max(now - arrived, min(own, now - self._connected), 1e-3)
