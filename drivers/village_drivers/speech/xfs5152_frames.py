"""Frames of the XFS5152CE (vendor's guide, sections 6.1, 8.2 and 12): `FD len len command [encoding] [text]`.

The length, big-endian, counts what follows it. There is no checksum.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Section 6.1: the chip's text buffer.
MAX_TEXT_BYTES = 4096
#: The guide names no gap; the one of the SYN6288, from the same family, costs nothing.
FRAME_GAP_S = 0.008
#: Section 12: `[v0]` is silent, `[v10]` the loudest.
LOUDEST = 10
#: Codec -> encoding byte. UNICODE is little-endian here and big-endian on the SYN6288.
ENCODINGS: Mapping[str, int] = {"gb2312": 0, "gbk": 1, "big5": 2, "utf-16-le": 3}


def _frame(command: int, content: bytes = b"") -> bytes:
    return b"\xfd" + (len(content) + 1).to_bytes(2, "big") + bytes([command]) + content


STOP = _frame(0x02)
PAUSE = _frame(0x03)
RESUME = _frame(0x04)
STATUS = _frame(0x21)
POWER_SAVE = _frame(0x88)
WAKE = _frame(0xFF)


def say(text: str, encoding: str) -> bytes:
    """Return the frame that speaks `text`, which replaces whatever the chip speaks.

    Raises `ValueError` for an unknown encoding, a text that it can't write, or one over `MAX_TEXT_BYTES`.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"XFS5152CE knows no encoding {encoding!r}")
    data = text.encode(encoding)
    if len(data) > MAX_TEXT_BYTES:
        raise ValueError(f"{len(data)} bytes of text are over the limit of {MAX_TEXT_BYTES}")
    return _frame(0x01, bytes([ENCODINGS[encoding]]) + data)
