"""Frames of the DFPlayer Mini (FN-M16P data sheet, section 3): `7E FF 06 command feedback high low check check EF`, both ways.

The checksum is the two's complement of the sum of the six bytes between start and checksum, big-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Medium = Literal["sd", "usb"]

FRAME_BYTES = 10
LOUDEST = 30
#: Folders `01` to `99` hold tracks `001` to `255`; `01` to `15` may hold tracks up to `3000` instead.
MAX_FOLDER = 99
MAX_WIDE_FOLDER = 15
MAX_FOLDER_TRACK = 255
MAX_WIDE_TRACK = 3000
#: In the folder `mp3`.
MAX_NAMED_TRACK = 9999
_START, _VERSION, _LENGTH, _END = 0x7E, 0xFF, 0x06, 0xEF


class Code(IntEnum):
    """What a frame says: to the board below 0x3A, from the board or in answer to a query from there on."""

    VOLUME = 0x06
    SOURCE = 0x09
    RESET = 0x0C
    FOLDER_TRACK = 0x0F
    MP3_TRACK = 0x12
    WIDE_FOLDER_TRACK = 0x14
    STOP = 0x16
    INSERTED = 0x3A
    REMOVED = 0x3B
    FINISHED_USB = 0x3C
    FINISHED_SD = 0x3D
    #: After a start: which media are there, see `MEDIUM_BITS`.
    READY = 0x3F
    ERROR = 0x40
    ACCEPTED = 0x41
    STATUS = 0x42
    QUERY_VOLUME = 0x43
    FILES_USB = 0x47
    FILES_SD = 0x48
    TRACK_USB = 0x4B
    TRACK_SD = 0x4C


class Playing(IntEnum):
    """The low byte of an answer to `STATUS`."""

    STOPPED = 0
    PLAYS = 1
    PAUSED = 2


class Fault(IntEnum):
    """The value of an `ERROR`."""

    INITIALISING = 1
    ASLEEP = 2
    INCOMPLETE = 3
    CHECKSUM = 4
    OUT_OF_RANGE = 5
    NOT_FOUND = 6
    NOT_PLAYING = 7
    CARD_UNREADABLE = 8
    FELL_ASLEEP = 10


#: Bits of `READY`, `INSERTED` and `REMOVED`.
MEDIUM_BITS: Mapping[Medium, int] = {"usb": 1, "sd": 2}
#: The value of `SOURCE`.
SOURCES: Mapping[Medium, int] = {"usb": 1, "sd": 2}
FINISHED: Mapping[Medium, Code] = {"usb": Code.FINISHED_USB, "sd": Code.FINISHED_SD}
FILES: Mapping[Medium, Code] = {"usb": Code.FILES_USB, "sd": Code.FILES_SD}
TRACK: Mapping[Medium, Code] = {"usb": Code.TRACK_USB, "sd": Code.TRACK_SD}


@dataclass(frozen=True, slots=True)
class Message:
    """One frame's content: `code` is 0 to 255 and may be one that `Code` does not know, `value` 0 to 65535."""

    code: int
    value: int = 0
    feedback: bool = False


def encode(message: Message) -> bytes:
    """Return the frame of a message; `feedback` asks the board for `ACCEPTED`."""
    body = bytes([_VERSION, _LENGTH, message.code, message.feedback]) + message.value.to_bytes(2, "big")
    return bytes([_START]) + body + _checksum(body) + bytes([_END])


def play(folder: int, number: int) -> Message:
    """Return the order to play a track; folder 0 is the folder `mp3`. Raises `ValueError` for one that no card can hold."""
    if number < 1:
        raise ValueError(f"tracks are numbered from 1, not {number}")
    if folder == 0 and number <= MAX_NAMED_TRACK:
        return Message(Code.MP3_TRACK, number)
    if 1 <= folder <= MAX_FOLDER and number <= MAX_FOLDER_TRACK:
        return Message(Code.FOLDER_TRACK, folder << 8 | number)
    if 1 <= folder <= MAX_WIDE_FOLDER and number <= MAX_WIDE_TRACK:
        return Message(Code.WIDE_FOLDER_TRACK, folder << 12 | number)
    raise ValueError(
        f"no card has track {number} in folder {folder}: folders are 0 (mp3, to {MAX_NAMED_TRACK}), 1 to {MAX_WIDE_FOLDER} "
        f"(to {MAX_WIDE_TRACK}) and to {MAX_FOLDER} (to {MAX_FOLDER_TRACK})"
    )


class FrameReader:
    """Finds frames in what comes on the line, whatever is between them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[list[Message], int]:
        """Take in bytes; return the messages that are complete, and how many bytes belonged to none."""
        rest, messages, strangers = self._rest + data, [], 0
        while True:
            start = rest.find(_START)
            if start < 0:
                strangers += len(rest)
                rest = b""
                break
            strangers += start
            rest = rest[start:]
            if not _may_begin(rest):
                # The real start may stand within what looked like a frame.
                strangers += 1
                rest = rest[1:]
                continue
            if len(rest) < FRAME_BYTES:
                break
            messages.append(Message(rest[3], int.from_bytes(rest[5:7], "big"), bool(rest[4])))
            rest = rest[FRAME_BYTES:]
        self._rest = rest
        return messages, strangers


def _may_begin(data: bytes) -> bool:
    """Whether `data`, which begins with a start byte, is a frame or the beginning of one."""
    fixed = bytes([_START, _VERSION, _LENGTH])
    if data[:3] != fixed[: len(data)]:
        return False
    return len(data) < FRAME_BYTES or (data[7:9] == _checksum(data[1:7]) and data[9] == _END)


def _checksum(body: bytes) -> bytes:
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")
