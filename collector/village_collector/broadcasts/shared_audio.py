"""Sound files of several collectors: the control store has the bytes, and each collector's folder holds what it was asked for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from village_collector.stores.audio_records import PART_BYTES, AudioRecords, Incomplete
from village_wire.broadcasts import Audio

_log = logging.getLogger(__name__)

#: As for a folder of one collector.
_KEPT = timedelta(hours=1)
_TRIES = 3


class StoreFull(Exception):
    """Broadcasts that are not over yet need all the room there is."""


class SharedAudio:
    """All methods block, and raise `StoreUnavailable` and `OSError`."""

    def __init__(
        self,
        records: AudioRecords,
        in_use: Callable[[], Collection[str]],
        max_bytes: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`in_use` returns the SHA-256 of files that are still needed."""
        self._records = records
        self._in_use = in_use
        self._max_bytes = max_bytes
        self._now = now

    def find(self, sha256: str) -> Audio | None:
        """Return a file, with its token."""
        return self._records.audio_file(sha256)

    def want(self, sha256: str) -> Audio | None:
        """Return a file and keep it from being forgotten for a while."""
        return self._records.use_audio(sha256, self._now())

    def put(self, path: Path, audio: Audio) -> Audio:
        """Keep a file; return it with the token that it has, which is another one if another collector was first.

        Raises:
            StoreFull: there is no room.
        """
        known = self.want(audio.sha256)
        if known is not None:
            return known
        self._make_room(audio.bytes)
        for _ in range(_TRIES - 1):
            with suppress(Incomplete):
                return self._add(path, audio)
        return self._add(path, audio)

    def fetch(self, audio: Audio, target: Path) -> bool:
        """Write a file's bytes; False if they are not what they should be, which is logged."""
        digest, size = hashlib.sha256(), 0
        with target.open("wb") as file:
            for part in self._records.audio_content(audio.sha256):
                digest.update(part)
                size += len(part)
                file.write(part)
        if digest.hexdigest() == audio.sha256:
            return True
        _log.error(
            "sound file %s can't be used: the control store gives %d bytes with another hash", audio.sha256, size
        )
        return False

    def tidy(self) -> None:
        """Remove the bytes of files that are forgotten, or were never complete."""
        self._records.remove_audio_parts(self._now() - _KEPT)

    def _add(self, path: Path, audio: Audio) -> Audio:
        self._records.add_audio_parts(audio.sha256, _parts(path), self._now())
        return self._records.add_audio(audio, self._now())

    def _make_room(self, size: int) -> None:
        total = self._records.audio_bytes() + size
        if total <= self._max_bytes:
            return
        before = self._now() - _KEPT
        for audio in self._records.unused_audio(frozenset(self._in_use()), before):
            if total <= self._max_bytes:
                break
            if self._records.forget_audio(audio.sha256, before):
                total -= audio.bytes
                _log.info("sound file %s is forgotten: no broadcast needs it, and room is needed", audio.sha256)
        if total > self._max_bytes:
            raise StoreFull(f"broadcasts that are not over yet need all of {self._max_bytes} bytes")


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part
