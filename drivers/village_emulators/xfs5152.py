"""An emulated XFS5152CE.

    python -m village_emulators.xfs5152 /tmp/device-end --speed 10

Source: XFS5152CE vendor's guide. It leaves open what follows a stop, and whether a status query is acknowledged: this chip says
nothing after a stop and answers a query with the status alone.
"""

from __future__ import annotations

from typing import ClassVar

from village_emulators.speech_chip import ACCEPTED, REJECTED, SpeechChipEmulator, run_as_program

_CODECS = ("gb2312", "gbk", "big5", "utf-16-le")
_MAX_TEXT = 4096
#: Wake, and start and stop of the speech recognition, which has no part here.
_WITHOUT_EFFECT = (0xFF, 0x10, 0x1F)


class Xfs5152Emulator(SpeechChipEmulator):
    """The chip; see `SpeechChipEmulator`."""

    default_volume: ClassVar[int] = 5
    max_volume: ClassVar[int] = 10

    _cache = ""

    def _content(self, frame: bytes) -> bytes | None:
        return frame[3:] or None

    def _obey(self, command: int, rest: bytes, now: float) -> bytes:
        if command in (0x01, 0x31):
            if not 1 < len(rest) <= 1 + _MAX_TEXT or rest[0] >= len(_CODECS):
                return REJECTED
            text = rest[1:].decode(_CODECS[rest[0]], "replace")
            if command == 0x01:
                return self._speak(text, now)
            self._cache = text
            return ACCEPTED
        if command == 0x32 and self._cache:
            return self._speak(self._cache, now)
        if rest:
            return REJECTED
        match command:
            case 0x02 | 0x88:
                self._cut(now)
                return ACCEPTED
            case 0x03:
                return self._pause(now)
            case 0x04:
                return self._resume(now)
            case 0x21:
                return self._status()
            case _ if command in _WITHOUT_EFFECT:
                return ACCEPTED
            case _:
                return REJECTED


def main() -> None:
    """Run as a program."""
    run_as_program(Xfs5152Emulator, "XFS5152CE")


if __name__ == "__main__":
    main()
