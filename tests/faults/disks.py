"""A small disk that can be filled: a mount of its own where root may do that, elsewhere a limit on the size of a program's files."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import subprocess
from pathlib import Path

#: Room for the databases of a run, their write-ahead logs included.
_BYTES = 96 * 1024 * 1024
_FILLER = "filler"
_CHUNK = 1024 * 1024


class SmallDisk:
    """The disk of one folder. `how` says what stands in for it. All methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.how = f"a tmpfs of {_BYTES >> 20} MiB"
        self._mounted = False

    def mount(self) -> None:
        """Make it, or fall back."""
        if os.geteuid() == 0:
            options = f"size={_BYTES},mode=700"
            made = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "village-faults", self._folder],
                capture_output=True,
                check=False,
            )
            self._mounted = made.returncode == 0
        if not self._mounted:
            self.how = "a limit on the size of the program's files (no tmpfs can be mounted)"

    def unmount(self) -> None:
        """Take it away again."""
        if self._mounted:
            subprocess.run(["umount", "--lazy", self._folder], capture_output=True, check=False)

    def fill(self, process: int) -> None:
        """Let no byte more be written by that program."""
        if not self._mounted:
            self._limit(process, 0)
            return
        with (self._folder / _FILLER).open("ab", buffering=0) as filler:
            size = _CHUNK
            while size:
                try:
                    written = filler.write(bytes(size))
                    size = size if written == size else size // 2
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self, process: int) -> None:
        """Give the room back."""
        if self._mounted:
            (self._folder / _FILLER).unlink(missing_ok=True)
        else:
            self._limit(process, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(process: int, size: int) -> None:
        # Whoever was killed meanwhile has no limit any more.
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
            resource.prlimit(process, resource.RLIMIT_FSIZE, (hard if size == resource.RLIM_INFINITY else size, hard))
