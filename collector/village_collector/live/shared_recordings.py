"""Recordings of several collectors: the control store gets them while somebody speaks, and gives them to every collector.

The file on the disk is written first, and needs no store; what the store did not take is given to it later, also by a collector that was
killed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from pathlib import Path
from uuid import UUID

from village_collector.ports import StoreUnavailable
from village_collector.stores.audio_records import PART_BYTES
from village_collector.stores.recording_records import RecordingRecords

_log = logging.getLogger(__name__)

#: What is lost of a recording with the collector's disk; 15 kB of speech.
SHARE_SECONDS = 5.0
_COPY = ".copy-"


class SharedRecordings:
    """Lives in the event loop. `folder` is that of the `Recorder`."""

    def __init__(self, folder: Path, records: RecordingRecords, share_seconds: float = SHARE_SECONDS) -> None:
        self._folder = folder
        self._records = records
        self._share_seconds = share_seconds
        self._open: set[UUID] = set()
        self._waiting: set[UUID] = set()
        self._look = asyncio.Event()

    def begun(self, broadcast: UUID) -> None:
        """Give the store what comes into this recording's file."""
        self._open.add(broadcast)
        self._waiting.add(broadcast)

    def ended(self, broadcast: UUID) -> None:
        """Nothing more comes into the file: give the store the rest at once."""
        self._open.discard(broadcast)
        self._look.set()

    async def run(self) -> None:
        """Give the store what it lacks, until cancelled."""
        away = False
        self._waiting |= set(await asyncio.to_thread(self._found))
        while True:
            for broadcast in sorted(self._waiting):
                over = broadcast not in self._open
                try:
                    await asyncio.to_thread(self._share, broadcast)
                except (StoreUnavailable, OSError) as error:
                    if not away:
                        _log.warning("recordings of live voice are on this collector's disk only: %s", error)
                    away = True
                    break
                away = False
                if over:
                    self._waiting.discard(broadcast)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._share_seconds):
                    await self._look.wait()
            self._look.clear()

    async def has(self, broadcast: UUID) -> bool:
        """Tell whether the store has any of a recording. Raises `StoreUnavailable`."""
        return await asyncio.to_thread(self._records.recorded_bytes, str(broadcast)) > 0

    async def copy(self, broadcast: UUID) -> Path | None:
        """Return a new file with what the store has of a recording, which the caller removes; None if it has nothing.

        Raises:
            StoreUnavailable, OSError: it can't be read, or not written here.
        """
        return await asyncio.to_thread(self._copy, broadcast)

    def _found(self) -> list[UUID]:
        found = []
        for path in self._folder.glob("*.ogg"):
            if path.name.startswith(_COPY):
                # Nobody reads it any more: whoever asked for it did so before the collector started.
                path.unlink(missing_ok=True)
                continue
            with contextlib.suppress(ValueError):
                found.append(UUID(path.stem))
        return found

    def _share(self, broadcast: UUID) -> None:
        at = self._records.recorded_bytes(str(broadcast))
        with contextlib.suppress(FileNotFoundError), (self._folder / f"{broadcast}.ogg").open("rb") as file:
            file.seek(at)
            while part := file.read(PART_BYTES):
                self._records.add_recorded(str(broadcast), at, part)
                at += len(part)

    def _copy(self, broadcast: UUID) -> Path | None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{_COPY}{secrets.token_hex(8)}.ogg"
        try:
            with path.open("xb") as file:
                for part in self._records.recorded(str(broadcast)):
                    file.write(part)
                if file.tell():
                    return path
            path.unlink()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return None
