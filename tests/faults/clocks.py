"""A system clock that can jump: libfaketime in front of a program, reading its offset from a file. The monotonic clock stays true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib")


def find_faketime() -> Path | None:
    """Return libfaketime for programs with threads, if the system has it."""
    for place in _PLACES:
        for name in ("libfaketimeMT.so.1", "libfaketime.so.1"):
            for found in sorted(Path(place).glob(f"**/faketime/{name}")):
                return found
    return None


class FakeClock:
    """The clock of one program."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._library = library
        self.jump(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the program must be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            # It looks into the file at every call otherwise, which takes more time than all the rest of an agent.
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on be so many seconds ahead of the true time, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)
