"""The folder of sound files: bounded, least recently used first out, never what is queued. Blocks on the disk, apart from pins."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from pathlib import Path

#: What is on its way carries this; whatever else a kill leaves behind is whole.
PART = ".part"


class NoRoom(OSError):
    """What is queued fills the folder."""


class SoundFolder:
    """One folder. Names are the caller's and never a path."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._pins: Counter[str] = Counter()
        self._lock = threading.Lock()

    def pin(self, name: str) -> None:
        """Keep a file, whether it is there or to come, until it is unpinned as often."""
        self._pins[name] += 1

    def unpin(self, name: str) -> None:
        """See `pin`."""
        self._pins[name] -= 1
        if self._pins[name] <= 0:
            del self._pins[name]

    def path(self, name: str) -> Path:
        """Where a file is or would be."""
        return self._path / name

    def part(self, name: str) -> Path:
        """Where a file is made; `keep` makes it count."""
        return self._path / f"{name}{PART}"

    def has(self, name: str) -> bool:
        """Whether a file is there; it counts as used now."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.path(name))
            return True
        return False

    def make_room(self, name: str, size: int) -> None:
        """Remove what was not used for longest until `size` bytes for the file `name` fit.

        Raises:
            NoRoom: what is queued takes too much.
            OSError: the disk refuses.
        """
        with self._lock:
            self._path.mkdir(mode=0o700, exist_ok=True)
            found = []
            for file in os.scandir(self._path):
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, file.name))
            used = sum(length for _, length, other in found if other.removesuffix(PART) != name)
            for _, length, other in sorted(found):
                if used + size <= self._max_bytes:
                    return
                if other.removesuffix(PART) not in {name, *self._pins}:
                    (self._path / other).unlink(missing_ok=True)
                    used -= length
            if used + size > self._max_bytes:
                raise NoRoom(
                    f"the sounds of queued broadcasts fill the {self._max_bytes} bytes of [loudspeakers] cache_bytes"
                )

    def keep(self, name: str) -> Path:
        """Let the part of a file, whole and checked, count; return its path. Raises `OSError`."""
        part, path = self.part(name), self.path(name)
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
        return path

    def remove(self, name: str) -> None:
        """Remove a file that is no good, and its part; raises `OSError`."""
        self.path(name).unlink(missing_ok=True)
        self.part(name).unlink(missing_ok=True)
