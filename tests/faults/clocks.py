"""A system clock that can jump, for one program: a library in front of it shifts what it reads. The monotonic clock stays true.

The library is ours where a C compiler is there. Else it is libfaketime, which also meddles with waiting: version 0.9.10 makes a
program with threads up to a thousand times slower at handing work over.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("jumping_clock.c")
_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class ClockLibrary:
    """What goes in front of a program."""

    path: Path
    ours: bool

    @property
    def how(self) -> str:
        """In words."""
        return "a library in front of the agent" if self.ours else f"{self.path.name} (no C compiler for our own)"


def find_library(folder: Path) -> ClockLibrary | None:
    """Build our library in `folder`, or find libfaketime; None where neither is possible. Blocks."""
    compiler = shutil.which("cc")
    if compiler is not None:
        library = folder / "jumping_clock.so"
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return ClockLibrary(library, ours=True)
    for place in _PLACES:
        for found in sorted(Path(place).glob("**/faketime/libfaketime.so.1")):
            return ClockLibrary(found, ours=False)
    return None


class FakeClock:
    """The clock of one program, true at first."""

    def __init__(self, file: Path, library: ClockLibrary) -> None:
        self._file = file
        self._library = library
        self.jump(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What the program must be started with."""
        preload = {"LD_PRELOAD": str(self._library.path)}
        if self._library.ours:
            return preload | {"VILLAGE_CLOCK_FILE": str(self._file)}
        return preload | {
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        """From now on be so many seconds ahead of the true time, or behind it. Blocks."""
        if not self._library.ours:
            new = self._file.with_suffix(".new")
            new.write_text(f"{seconds:+d}\n")
            new.replace(self._file)
            return
        # In place: running programs have the file mapped.
        mode = "r+b" if self._file.exists() else "x+b"
        with self._file.open(mode, buffering=0) as file:
            file.write(struct.pack("=q", seconds * 10**9))
