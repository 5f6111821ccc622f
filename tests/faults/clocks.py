"""A system clock that can jump, for one program: a library in front of it shifts what it reads. The monotonic clock stays true.

It is not libfaketime, which meddles with waiting too: with version 0.9.10 a program with threads hands work over up to a thousand
times slower, and then loses what it would have written in time.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("jumping_clock.c")


def build_library(folder: Path) -> Path | None:
    """Compile the library into `folder`; None where there is no C compiler. Blocks."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "jumping_clock.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    return library if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


class FakeClock:
    """The clock of one program, true at first."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self._file.touch()
        self.jump(0)
        #: What the program must be started with.
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "VILLAGE_CLOCK_FILE": str(file)}

    def jump(self, seconds: int) -> None:
        """From now on be so many seconds ahead of the true time, or behind it. Blocks."""
        # In place: running programs have the file mapped.
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds * 10**9))
