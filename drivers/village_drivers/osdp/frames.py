"""OSDP frames in a byte stream (IEC 60839-11-5, clause 5): found, checked and looked at, never decrypted.

    53 address length length control [security block] code data... [MAC] checksum or CRC

Bit 7 of the address marks a reply. Control: bits 0-1 sequence, bit 2 CRC instead of checksum, bit 3 security block present.
The code of a command or reply is in clear even within a secure channel; only its data is encrypted.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

SOM = 0x53
MARK = 0xFF
#: libosdp's buffer; a reader that follows the standard asks before it sends more.
MAX_FRAME = 256
_HEADER = 5
_CRC, _SECURITY = 0x04, 0x08
_MIN_FRAME = _HEADER + 2

#: Command codes.
POLL, ID, CAPABILITIES, LOCAL_STATUS, CHALLENGE, SERVER_CRYPTOGRAM = 0x60, 0x61, 0x62, 0x64, 0x76, 0x77
#: Reply codes.
ACK, NAK, IDENTITY, CLIENT_CRYPTOGRAM, INITIAL_MAC = 0x40, 0x41, 0x45, 0x76, 0x78
#: Security block types from which on the data is under the session's keys.
_SESSION = 0x15


@dataclass(frozen=True, slots=True)
class Frame:
    """One valid frame. `raw` runs from the start byte to the checksum; `secured` tells that it belongs to a secure session."""

    raw: bytes
    address: int
    reply: bool
    code: int
    secured: bool

    @property
    def nak(self) -> bool:
        """The reader answers no."""
        return self.reply and self.code == NAK

    @property
    def nak_reason(self) -> int | None:
        """The error code of a NAK in clear; None for any other frame."""
        if not self.nak or self.secured or self.raw[4] & _SECURITY:
            return None
        tail = 2 if self.raw[4] & _CRC else 1
        return self.raw[6] if len(self.raw) >= 7 + tail else None


class FrameSplitter:
    """Finds valid frames among noise. Holds at most `MAX_FRAME` bytes beyond what `feed` is given."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Bytes so far that were part of no valid frame; mark bytes between frames don't count.
        self.garbage = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Never raises, whatever the bytes."""
        self._buffer += data
        frames: list[Frame] = []
        position = 0
        while position < len(self._buffer):
            if self._buffer[position] != SOM:
                self.garbage += self._buffer[position] != MARK
                position += 1
                continue
            rest = len(self._buffer) - position
            if rest < _HEADER:
                break
            length = self._buffer[position + 2] | self._buffer[position + 3] << 8
            if _MIN_FRAME <= length <= MAX_FRAME:
                if rest < length:
                    break
                frame = _check(bytes(self._buffer[position : position + length]))
                if frame is not None:
                    frames.append(frame)
                    position += length
                    continue
            self.garbage += 1
            position += 1
        del self._buffer[:position]
        return frames

    def reset(self) -> None:
        """Forget the beginning of a frame; its bytes count as garbage."""
        self.garbage += len(self._buffer)
        self._buffer.clear()


def command_code(raw: bytes) -> int:
    """Return the code of a frame that libosdp built, which may begin with a mark byte."""
    start = _HEADER + (raw[0] == MARK)
    return raw[start + raw[start]] if raw[start - 1] & _SECURITY else raw[start]


def crc16(data: bytes) -> int:
    """Return the CRC of a frame: polynomial 1021, initial value 1D0F."""
    return binascii.crc_hqx(data, 0x1D0F)


def build_frame(address: int, control: int, body: bytes, *, reply: bool) -> bytes:
    """Return a frame with a CRC around security block, code and data."""
    length = _HEADER + len(body) + 2
    head = bytes([SOM, address | (0x80 if reply else 0), length & 0xFF, length >> 8, control | _CRC])
    return head + body + crc16(head + body).to_bytes(2, "little")


def _check(raw: bytes) -> Frame | None:
    control = raw[4]
    if control & _CRC:
        end = len(raw) - 2
        if crc16(raw[:end]) != int.from_bytes(raw[end:], "little"):
            return None
    else:
        end = len(raw) - 1
        if sum(raw) & 0xFF:
            return None
    start = _HEADER
    secured = False
    if control & _SECURITY:
        if end < start + 2 or raw[start] < 2:
            return None
        secured = raw[start + 1] >= _SESSION
        start += raw[start]
    if start >= end:
        return None
    return Frame(raw, raw[1] & 0x7F, bool(raw[1] & 0x80), raw[start], secured)
