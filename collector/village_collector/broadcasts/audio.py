"""Sound files by their content: taken in from people, normalised once, handed to agents with a token of their own.

A file `<sha256>.ogg` counts once `<sha256>.json` (seconds, bytes, token) stands beside it. Where several collectors share a control store,
it has all files, and the folder holds those that this collector took in or was asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from village_collector.broadcasts.normalising import normalise
from village_collector.broadcasts.shared_audio import SharedAudio, StoreFull
from village_collector.data_dir import write_atomically
from village_collector.ports import StoreUnavailable
from village_collector.stores.audio_records import AudioRecords, Incomplete
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
#: Between two looks at what the shared store lacks, or has too much.
_TIDY_SECONDS = 600.0


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
        *,
        shared: AudioRecords | None = None,
    ) -> None:
        """`in_use` returns the SHA-256 of files that are still needed; it blocks, and raises `StoreUnavailable`.

        `shared` is the control store if other collectors use it too, and then has `max_bytes` for all of them.
        """
        self._folder = folder
        self._in_use = in_use
        self._convert = convert
        self._max_bytes = max_bytes
        self._taking = 0
        self._shared = SharedAudio(shared, in_use, max_bytes) if shared is not None else None
        self._filling: dict[str, asyncio.Task[Path | None]] = {}

    async def run(self, tidy_seconds: float = _TIDY_SECONDS) -> None:
        """Give the shared store what other collectors may be asked for and it lacks, and tidy it, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._share_needed)
            except (StoreUnavailable, OSError, FolderFull) as error:
                _log.warning("sound files are not with all collectors: %s", error)
            await asyncio.sleep(tidy_seconds)

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
        """Return a file that may be broadcast, with its token; None for any other. Raises `StoreUnavailable` if files are shared."""
        return await asyncio.to_thread(self._read if self._shared is None else self._find_shared, sha256)

    async def open_for(self, sha256: str, token: str) -> Path | None:
        """Return the path of a file to whoever shows its token; None for a wrong token as for an unknown file.

        Raises:
            StoreUnavailable, OSError, FolderFull: the file is with another collector, and can't be had.
        """
        audio = await asyncio.to_thread(self._read, sha256)
        here = audio is not None
        if audio is None and self._shared is not None:
            audio = await asyncio.to_thread(self._shared.find, sha256)
        right = secrets.compare_digest((audio.token if audio else secrets.token_urlsafe(32)).encode(), token.encode())
        if audio is None or not right:
            return None
        return self._path(sha256) if here else await self._fill(audio)

    async def _fill(self, audio: Audio) -> Path | None:
        # All loudspeakers ask at once, and whoever hangs up must not stop it for the others.
        task = self._filling.get(audio.sha256)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._fetch, audio), name=f"sound file {audio.sha256}")
            self._filling[audio.sha256] = task
            task.add_done_callback(lambda done: self._filled(audio.sha256, done))
        return await asyncio.shield(task)

    def _filled(self, sha256: str, task: asyncio.Task[Path | None]) -> None:
        del self._filling[sha256]
        if not task.cancelled() and task.exception() is not None:
            _log.warning("sound file %s can't be had from the control store: %s", sha256, task.exception())

    def _fetch(self, audio: Audio) -> Path | None:
        if self._shared is None:
            raise AssertionError("only files of a shared store are fetched")
        self._prepare()
        with self._temporary() as path:
            if not self._shared.fetch(audio, path):
                return None
            self._adopt(path, audio)
        return self._path(audio.sha256)

    def _find_shared(self, sha256: str) -> Audio | None:
        if self._shared is None:
            raise AssertionError("only files of a shared store are looked for there")
        found = self._shared.want(sha256)
        if found is not None:
            return found
        # Another collector forgot it, or this one took it in before it shared a store.
        here = self._read(sha256)
        return None if here is None else self._share(self._path(sha256), here)

    def _share(self, path: Path, audio: Audio) -> Audio:
        if self._shared is None:
            return audio
        try:
            return self._shared.put(path, audio)
        except StoreFull as error:
            raise FolderFull(str(error)) from None
        except Incomplete:
            raise StoreUnavailable(f"sound file {audio.sha256} was removed while it was stored; try again") from None

    def _share_needed(self) -> None:
        if self._shared is None:
            return
        self._shared.tidy()
        for sha256 in self._in_use():
            here = self._read(sha256)
            if here is not None and self._shared.find(sha256) is None:
                self._share(self._path(sha256), here)

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
            size = file.tell()
        sha256 = digest.hexdigest()
        known = self._read(sha256)
        if known is not None:
            os.utime(self._path(sha256))
            if self._shared is None:
                return known
        token = known.token if known is not None else secrets.token_urlsafe(32)
        audio = self._share(path, Audio(sha256=sha256, bytes=size, seconds=seconds, token=token))
        if audio != known:
            self._adopt(path, audio)
        return audio

    def _adopt(self, path: Path, audio: Audio) -> None:
        self._make_room(audio.bytes)
        with path.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
            os.fsync(file.fileno())
        path.rename(self._path(audio.sha256))
        # A file that stands there without its description, as a kill leaves it, is none; this also syncs the folder.
        write_atomically(self._folder / f"{audio.sha256}.json", json.dumps(audio.model_dump()).encode(), 0o600)

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        path = self._folder / f"{_INCOMING}{secrets.token_hex(8)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("[0-9a-f]*.ogg"))
        total = sum(bytes_ for _, bytes_, _ in files) + size
        if total <= self._max_bytes:
            return
        # What the shared store has can be fetched again.
        used = frozenset(self._in_use()) if self._shared is None else frozenset[str]()
        before = time.time() - (_KEPT_SECONDS if self._shared is None else 0.0)
        for modified, bytes_, path in files:
            if total <= self._max_bytes:
                return
            if path.stem not in used and modified < before:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                total -= bytes_
                if self._shared is None:
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
