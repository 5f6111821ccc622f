"""An emulated SYN6288.

    python -m village_emulators.syn6288 /tmp/device-end --speed 10

Source: SYN6288 data sheet of 2016-03-09. It leaves open what follows a stop; this chip says that it is idle.
"""

from __future__ import annotations

from typing import ClassVar

from village_emulators.speech_chip import ACCEPTED, IDLE, REJECTED, SpeechChipEmulator, run_as_program

_CODECS = ("gb2312", "gbk", "big5", "utf-16-be")
_BAUDRATE_CODES = 3


class Syn6288Emulator(SpeechChipEmulator):
    """The chip; see `SpeechChipEmulator`."""

    default_volume: ClassVar[int] = 10
    max_volume: ClassVar[int] = 16

    def _content(self, frame: bytes) -> bytes | None:
        checksum = 0
        for byte in frame[:-1]:
            checksum ^= byte
        if checksum != frame[-1]:
            return None
        return frame[3:-1]

    def _obey(self, command: int, rest: bytes, now: float) -> bytes:
        if command == 0x01 and 1 < len(rest) <= 201 and rest[0] & 7 < len(_CODECS):
            return self._speak(rest[1:].decode(_CODECS[rest[0] & 7], "replace"), now)
        if command == 0x31 and len(rest) == 1 and rest[0] < _BAUDRATE_CODES:
            return ACCEPTED
        if rest:
            return REJECTED
        match command:
            case 0x02:
                return ACCEPTED + IDLE if self._cut(now) else ACCEPTED
            case 0x03:
                return self._pause(now)
            case 0x04:
                return self._resume(now)
            case 0x21:
                return ACCEPTED + self._status()
            case 0x88:
                self._cut(now)
                return ACCEPTED
            case _:
                return REJECTED


def main() -> None:
    """Run as a program."""
    run_as_program(Syn6288Emulator, "SYN6288")


if __name__ == "__main__":
    main()
