"""A WAV file that grows and is readable at any moment, also after the program was killed.

Layout: RIFF/WAVE with a 16 byte `fmt ` chunk and one `data` chunk ("Multimedia Programming Interface and Data
Specifications 1.0", IBM and Microsoft, 1991).
"""

from __future__ import annotations

import struct
import threading
from pathlib import Path

from village_drivers.kit import Misconfigured, NotConnected
from village_drivers.sound.pcm import BYTES_PER_SECOND, RATE, SAMPLE_BYTES

#: Three hours of sound; a longer file starves an SD card. The full one is kept once, as `<name>.old`.
MAX_BYTES = 1024 * 1024 * 1024
#: A kill loses at most this much from the view of readers that trust the header.
_HEADER_EVERY_BYTES = BYTES_PER_SECOND // 2
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


def header(data_bytes: int) -> bytes:
    """Return the 44 bytes that stand before `data_bytes` of sound."""
    return _HEADER.pack(
        b"RIFF",
        36 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE,
        BYTES_PER_SECOND,
        SAMPLE_BYTES,
        16,
        b"data",
        data_bytes,
    )


class WavFile:
    """An open file; every method blocks on the disk. An existing file of the same form is continued, with its sizes repaired.

    `append` and `close` may come from different threads; what is appended after `close` is dropped.
    """

    def __init__(self, path: Path) -> None:
        """Open or create.

        Raises:
            Misconfigured: the file holds something else, which is not overwritten.
            NotConnected: the folder is absent, not writable or full.
        """
        try:
            if path.exists() and path.stat().st_size > MAX_BYTES:
                path.replace(path.with_name(path.name + ".old"))
            self._file = path.open("r+b" if path.exists() and path.stat().st_size else "w+b", buffering=0)
            try:
                self._data_bytes = self._continue(path)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise NotConnected("program_failed", f"{path}: {error.strerror}") from error
        self._announced = self._data_bytes
        self._lock = threading.Lock()

    def append(self, samples: bytes) -> None:
        """Write sound at the end. Raises `NotConnected` when the disk does not take it."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write(samples)
                self._data_bytes += len(samples)
                if self._data_bytes - self._announced >= _HEADER_EVERY_BYTES:
                    self._write_header()
            except OSError as error:
                raise NotConnected("program_failed", f"{self._file.name}: {error.strerror}") from error

    def close(self) -> None:
        """Make the header exact and close. Raises `NotConnected` as `append`."""
        with self._lock:
            try:
                self._write_header()
            except OSError as error:
                raise NotConnected("program_failed", f"{self._file.name}: {error.strerror}") from error
            finally:
                self._file.close()

    def _continue(self, path: Path) -> int:
        size = path.stat().st_size
        if size == 0:
            self._file.write(header(0))
            return 0
        found = self._file.read(_HEADER.size)
        # Only the two sizes may differ from what this program writes.
        if len(found) < _HEADER.size or found[8:40] != header(0)[8:40] or found[:4] != b"RIFF":
            raise Misconfigured(
                "misconfigured", f"{path} exists and is not a recording of this program: name another file"
            )
        data_bytes = (size - _HEADER.size) // SAMPLE_BYTES * SAMPLE_BYTES
        self._file.truncate(_HEADER.size + data_bytes)
        self._file.seek(0, 2)
        return data_bytes

    def _write_header(self) -> None:
        self._file.seek(0)
        self._file.write(header(self._data_bytes))
        self._file.seek(0, 2)
        self._announced = self._data_bytes
