"""Frames of the SYN6288 (data sheet of 2016-03-09, sections 3.2 and 4): `FD len len command [parameter] [text] xor`.

The length, big-endian, counts what follows it, the checksum included; the checksum is the XOR of all bytes before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import xor

#: Section 3.2: the chip refuses longer texts.
MAX_TEXT_BYTES = 200
#: Section 4.2: at least this long between two frames.
FRAME_GAP_S = 0.008
#: Section 5.1: `[v0]` is silent, `[v16]` the loudest.
LOUDEST = 16
#: Codec -> the low three bits of the say parameter. The high five bits choose the background music.
ENCODINGS: Mapping[str, int] = {"gb2312": 0, "gbk": 1, "big5": 2, "utf-16-be": 3}
_BAUDRATES: Mapping[int, int] = {9600: 0, 19200: 1, 38400: 2}


def _frame(command: int, content: bytes = b"") -> bytes:
    body = b"\xfd" + (len(content) + 2).to_bytes(2, "big") + bytes([command]) + content
    return body + bytes([reduce(xor, body)])


STOP = _frame(0x02)
PAUSE = _frame(0x03)
RESUME = _frame(0x04)
STATUS = _frame(0x21)
POWER_DOWN = _frame(0x88)


def say(text: str, encoding: str, music: int = 0) -> bytes:
    """Return the frame that speaks `text`, which replaces whatever the chip speaks.

    Raises `ValueError` for an unknown encoding, a text that it can't write, one over `MAX_TEXT_BYTES`, or music not 0 to 15.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"SYN6288 knows no encoding {encoding!r}")
    if not 0 <= music <= 15:
        raise ValueError(f"background music is 0 to 15, not {music}")
    data = text.encode(encoding)
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"{len(data)} bytes of text are over the limit of {MAX_TEXT_BYTES}")
    return _frame(0x01, bytes([music << 3 | ENCODINGS[encoding]]) + data)


def set_baudrate(baudrate: int) -> bytes:
    """Return the frame that changes the baud rate until the next reset; raise `ValueError` for one that the chip lacks."""
    if baudrate not in _BAUDRATES:
        raise ValueError(f"SYN6288 has no {baudrate} baud")
    return _frame(0x31, bytes([_BAUDRATES[baudrate]]))
