"""Sound files by their content: taken in from people, normalised once, handed to agents with a token of their own.

A file `<sha256>.ogg` counts once `<sha256>.json` (seconds, bytes, token) stands beside it. Several collectors may share the folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from village_collector.broadcasts.normalising import normalise
from village_collector.data_dir import write_atomically
from village_wire.broadcasts import MAX_AUDIO_BYTES, Audio

_log = logging.getLogger(__name__)

#: 180 hours of speech.
MAX_FOLDER_BYTES = 2_000_000_000
#: Each holds a file of up to 50 MB on disk, and one processor for some seconds to minutes.
MAX_AT_ONCE = 2
#: 50 MB at 0.5 Mbit/s.
UPLOAD_SECONDS = 900.0
#: Who uploaded a file may take so long to say what it is for.
_KEPT_SECONDS = 3600.0
_INCOMING = ".incoming-"


class TooManyAtOnce(Exception):
    """`MAX_AT_ONCE` files are taken in already."""


class TooLarge(Exception):
    """The file is longer than `MAX_AUDIO_BYTES`."""


class FolderFull(Exception):
    """Broadcasts that are not over yet need all the room there is."""


class AudioFiles:
    """The folder of sound files. Lives in the event loop."""

    def __init__(
        self,
        folder: Path,
        in_use: Callable[[], Collection[str]],
        convert: Callable[[Path, Path], Awaitable[float]] = normalise,
        max_bytes: int = MAX_FOLDER_BYTES,
    ) -> None:
        """`in_use` returns the SHA-256 of files that are still needed; it blocks, and raises `StoreUnavailable`."""
        self._folder = folder
        self._in_use = in_use
        self._convert = convert
        self._max_bytes = max_bytes
        self._taking = 0

    async def take_in(self, parts: AsyncIterator[bytes]) -> Audio:
        """Keep a sound file of any format; return it as agents get it. The same sound again is the same file.

        Raises:
            TooManyAtOnce, TooLarge, FolderFull: try again later, or with less.
            BadAudio: it is no sound file that can be used.
            NoConverter: ffmpeg is missing.
            TimeoutError: it came too slowly.
            OSError, StoreUnavailable: the disk or the store takes nothing.
        """
        if self._taking >= MAX_AT_ONCE:
            raise TooManyAtOnce(f"{MAX_AT_ONCE} sound files are taken in already")
        self._taking += 1
        name = f"{_INCOMING}{secrets.token_hex(8)}"
        source, target = self._folder / name, self._folder / f"{name}.ogg"
        try:
            await asyncio.to_thread(self._prepare)
            async with asyncio.timeout(UPLOAD_SECONDS):
                await _write(source, parts)
            seconds = await self._convert(source, target)
            return await asyncio.to_thread(self._keep, target, seconds)
        finally:
            self._taking -= 1
            await asyncio.to_thread(_remove, source, target)

    async def find(self, sha256: str) -> Audio | None:
        """Return a file that is here, with its token; None for any other."""
        return await asyncio.to_thread(self._read, sha256)

    async def open_for(self, sha256: str, token: str) -> Path | None:
        """Return the path of a file to whoever shows its token; None for a wrong token as for an unknown file."""
        audio = await self.find(sha256)
        right = secrets.compare_digest((audio.token if audio else secrets.token_urlsafe(32)).encode(), token.encode())
        return self._path(sha256) if audio is not None and right else None

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.ogg"

    def _read(self, sha256: str) -> Audio | None:
        try:
            size = self._path(sha256).stat().st_size
            found = Audio.model_validate_json((self._folder / f"{sha256}.json").read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.sha256 == sha256 and found.bytes == size else None

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        # What a killed collector left.
        for left in self._folder.glob(f"{_INCOMING}*"):
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > 2 * UPLOAD_SECONDS:
                    left.unlink()

    def _keep(self, path: Path, seconds: float) -> Audio:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
            size = file.tell()
        sha256 = digest.hexdigest()
        known = self._read(sha256)
        if known is not None:
            os.utime(self._path(sha256))
            return known
        self._make_room(size)
        audio = Audio(sha256=sha256, bytes=size, seconds=seconds, token=secrets.token_urlsafe(32))
        path.rename(self._path(sha256))
        # A file that stands there without its description, as a kill leaves it, is none; this also syncs the folder.
        write_atomically(self._folder / f"{sha256}.json", json.dumps(audio.model_dump()).encode(), 0o600)
        return audio

    def _make_room(self, size: int) -> None:
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("[0-9a-f]*.ogg"))
        total = sum(bytes_ for _, bytes_, _ in files) + size
        if total <= self._max_bytes:
            return
        used, before = frozenset(self._in_use()), time.time() - _KEPT_SECONDS
        for modified, bytes_, path in files:
            if total <= self._max_bytes:
                return
            if path.stem not in used and modified < before:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                total -= bytes_
                _log.info("sound file %s is forgotten: no broadcast needs it, and room is needed", path.stem)
        if total > self._max_bytes:
            raise FolderFull(f"broadcasts that are not over yet need all of {self._max_bytes} bytes")


async def _write(path: Path, parts: AsyncIterator[bytes]) -> None:
    file: BinaryIO = await asyncio.to_thread(_create, path)
    try:
        size = 0
        async for part in parts:
            size += len(part)
            if size > MAX_AUDIO_BYTES:
                raise TooLarge(f"a sound file has at most {MAX_AUDIO_BYTES} bytes")
            await asyncio.to_thread(file.write, part)
    finally:
        await asyncio.to_thread(file.close)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
