"""One program at a time uses a state directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunning(Exception):
    """Another agent uses the same state directory."""


@contextlib.contextmanager
def state_lock(folder: Path) -> Iterator[None]:
    """Make the state directory (mode 0700) and keep other agents out of it; raises `AlreadyRunning` or `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The folder itself is locked: a disk that is full or read-only holds no new file, and doors must work nevertheless.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another village-agent runs with the state directory {folder}") from None
        yield
    finally:
        os.close(descriptor)
