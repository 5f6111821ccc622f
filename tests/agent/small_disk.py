"""Real file systems that get full or read-only, for tests that may mount (root); others are skipped."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is absent")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs the right to mount: {error.stderr.decode(errors='replace').strip()}")


class SmallDisk:
    """A mounted file system of a few megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            for size in (65536, 4096, 512, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink()

    def break_down(self) -> None:
        """Make the kernel refuse every write from now on, as it does when an SD card reports errors."""
        _run("mount", "-o", "remount,abort", str(self.path))


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "6m") -> Iterator[SmallDisk]:
    """A disk in memory."""
    path = folder / "disk"
    path.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def card(folder: Path) -> Iterator[SmallDisk]:
    """An ext4 file system, as on an SD card."""
    path, image = folder / "card", folder / "card.img"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    _run("mkfs.ext4", "-q", "-F", str(image))
    _run("mount", "-o", "loop", str(image), str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
