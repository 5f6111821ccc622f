"""Ogg Opus (RFC 3533, RFC 7845) as it comes in from a speaker, and as it is recorded. Pure, but for the serial number that is given.

The reader takes what `ffmpeg -c:a libopus -frame_duration 20 -ac 1 -f ogg` makes, in pieces of any length, and refuses everything else:
what it lets through is signed and decoded at ten thousand loudspeakers.
"""

from __future__ import annotations

import struct
from typing import Final

from village_wire.live import FRAME_SAMPLES, MAX_FRAME_BYTES

_HEAD = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST, _LAST = 1, 2, 4
_SEGMENT = 255
#: A page of a live stream holds some frames; the tags may be longer.
_MAX_PAGE_BYTES = _HEAD.size + 255 + 255 * _SEGMENT
_MAX_TAG_PAGES = 2
#: Seconds of sound that a kill may take from a recording.
_PAGE_FRAMES: Final = 50


class BadStream(ValueError):
    """The bytes are not a mono Opus stream in frames of 20 ms; the text says why."""


class OpusReader:
    """`feed` bytes, get Opus frames. `skip` is how many samples at the beginning are no sound (pre-skip)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._partial = bytearray()
        self._serial: int | None = None
        self._packets = 0
        self._pages = 0
        self.skip = 0

    @property
    def begun(self) -> bool:
        """Whether the heads have passed."""
        return self._packets >= 2

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that are whole; raises `BadStream`."""
        self._data += data
        frames: list[bytes] = []
        while (page := self._page()) is not None:
            for packet in self._unpacked(*page):
                self._packets += 1
                if self._packets == 1:
                    self._read_head(packet)
                elif self._packets == 2:
                    if not packet.startswith(b"OpusTags"):
                        raise BadStream("the tags are missing")
                else:
                    _check(packet)
                    frames.append(packet)
        return frames

    def _page(self) -> tuple[bytes, bytes, int] | None:
        """Return segment table, content and flags of the next page, None until it is whole."""
        if len(self._data) < _HEAD.size:
            return None
        magic, version, flags, _, serial, _, checksum, segments = _HEAD.unpack_from(self._data)
        if magic != b"OggS" or version != 0:
            raise BadStream("no Ogg page where one should begin")
        table = bytes(self._data[_HEAD.size : _HEAD.size + segments])
        size = _HEAD.size + segments + sum(table)
        if len(self._data) < _HEAD.size + segments or len(self._data) < size:
            return None
        page = bytearray(self._data[:size])
        del self._data[:size]
        page[22:26] = bytes(4)
        if _checksum(page) != checksum:
            raise BadStream("an Ogg page is damaged")
        if self._serial is None:
            self._serial = serial
        elif serial != self._serial:
            raise BadStream("there is a second stream")
        self._pages += 1
        if self._pages > 1 + _MAX_TAG_PAGES and not self.begun:
            raise BadStream("the tags are too long")
        return table, bytes(page[_HEAD.size + segments :]), flags

    def _unpacked(self, table: bytes, content: bytes, flags: int) -> list[bytes]:
        if bool(flags & _CONTINUED) != bool(self._partial):
            raise BadStream("a packet is cut in two by a page that is missing")
        packets, at = [], 0
        for length in table:
            self._partial += content[at : at + length]
            at += length
            if length < _SEGMENT:
                packets.append(bytes(self._partial))
                self._partial.clear()
        return packets

    def _read_head(self, packet: bytes) -> None:
        if len(packet) < 19 or not packet.startswith(b"OpusHead"):
            raise BadStream("not Opus: encode with libopus (ffmpeg: -c:a libopus -f ogg)")
        if packet[8] & 0xF0 or packet[9] != 1:
            raise BadStream(f"{packet[9]} channels: make it mono (ffmpeg: -ac 1)")
        self.skip = int.from_bytes(packet[10:12], "little")


def _check(frame: bytes) -> None:
    if not 1 <= len(frame) <= MAX_FRAME_BYTES:
        raise BadStream("a frame that is empty or too long")
    # RFC 6716, section 3.1: configuration, channels, frames in the packet.
    configuration, channels, count = frame[0] >> 3, frame[0] >> 2 & 1, frame[0] & 3
    if configuration < 12:
        milliseconds = (10, 20, 40, 60)[configuration & 3]
    elif configuration < 16:
        milliseconds = (10, 20)[configuration & 1]
    else:
        milliseconds = (2, 5, 10, 20)[configuration & 3]
    if milliseconds != 20 or count != 0:
        raise BadStream("the frames are not of 20 ms (ffmpeg: -frame_duration 20)")
    if channels:
        raise BadStream("a stereo frame: make it mono (ffmpeg: -ac 1)")


class OpusWriter:
    """Pages of a recording. Each method returns bytes to append to the file, which can be played after any of them."""

    def __init__(self, serial: int, skip: int, comments: tuple[str, ...] = ()) -> None:
        self._serial = serial
        self._skip = skip
        self._comments = comments
        self._number = 0
        self._samples = 0
        self._frames: list[bytes] = []

    @property
    def seconds(self) -> float:
        """How much has been given to `add`."""
        return (self._samples + len(self._frames) * FRAME_SAMPLES) / 48_000

    def begin(self) -> bytes:
        """The two heads."""
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, self._skip, 48_000, 0, 0)
        texts = [text.encode() for text in ("village-edge", *self._comments)]
        parts = [struct.pack("<I", len(text)) + text for text in texts]
        tags = b"OpusTags" + parts[0] + struct.pack("<I", len(parts) - 1) + b"".join(parts[1:])
        return self._page([head], _FIRST, 0) + self._page([tags], 0, 0)

    def add(self, frames: list[bytes]) -> bytes:
        """Pages that are full, of a second each."""
        self._frames += frames
        pages = b""
        while len(self._frames) > _PAGE_FRAMES:
            pages += self._flush(self._frames[:_PAGE_FRAMES], 0)
            self._frames = self._frames[_PAGE_FRAMES:]
        return pages

    def end(self) -> bytes:
        """The last page."""
        frames, self._frames = self._frames, []
        return self._flush(frames, _LAST)

    def _flush(self, frames: list[bytes], flags: int) -> bytes:
        self._samples += len(frames) * FRAME_SAMPLES
        return self._page(frames, flags, self._samples)

    def _page(self, packets: list[bytes], flags: int, granule: int) -> bytes:
        table = b"".join(b"\xff" * (len(packet) // _SEGMENT) + bytes([len(packet) % _SEGMENT]) for packet in packets)
        if len(table) > 255:
            # A second of very long frames: two pages.
            half = len(packets) // 2
            before = granule - (len(packets) - half) * FRAME_SAMPLES
            return self._page(packets[:half], flags & ~_LAST, before) + self._page(packets[half:], flags, granule)
        page = bytearray(_HEAD.pack(b"OggS", 0, flags, granule, self._serial, self._number, 0, len(table)))
        page += table + b"".join(packets)
        page[22:26] = _checksum(page).to_bytes(4, "little")
        self._number += 1
        return bytes(page)


def _table() -> tuple[int, ...]:
    made = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)
        made.append(value & 0xFFFFFFFF)
    return tuple(made)


_CRC = _table()


def _checksum(page: bytes | bytearray) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value
