"""What was said live, kept for the audit: an Ogg Opus file that can be played whenever the collector ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from village_collector.live.ogg import OpusWriter

#: Pages of a second each that wait for the disk; a disk that is slower than speech ends it.
_MAX_WAITING = 30


class Recorder:
    """Recordings in one folder, `<broadcast>.ogg`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def path(self, broadcast: UUID) -> Path:
        """Where a recording is, if there is one."""
        return self._folder / f"{broadcast}.ogg"

    async def open(self, broadcast: UUID, skip: int, title: str) -> Recording:
        """Begin a recording. Raises `OSError`."""
        writer = OpusWriter(broadcast.int & 0xFFFFFFFF, skip, (f"TITLE={title}",) if title else ())

        def begin() -> int:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path(broadcast), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(handle, writer.begin())
            except OSError:
                os.close(handle)
                raise
            return handle

        return Recording(await asyncio.to_thread(begin), writer)

    def forget(self, is_kept: Callable[[UUID], bool]) -> int:
        """Remove recordings of broadcasts that are not kept any more; return how many. Blocks on the disk."""
        removed = 0
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                with contextlib.suppress(ValueError):
                    if path.suffix == ".ogg" and not is_kept(UUID(path.stem)):
                        path.unlink(missing_ok=True)
                        removed += 1
        return removed


class Recording:
    """One open file. `failed` is why the disk took something not, "" while it takes everything."""

    def __init__(self, handle: int, writer: OpusWriter) -> None:
        self._handle = handle
        self._writer = writer
        self._pages: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        self._task = asyncio.create_task(self._run(), name="recording of live voice")
        self.failed = ""

    def add(self, frames: list[bytes]) -> None:
        """Keep frames; never blocks."""
        pages = self._writer.add(frames)
        if pages and not self.failed:
            try:
                self._pages.put_nowait(pages)
            except asyncio.QueueFull:
                self.failed = "the disk is too slow for the recording"

    async def close(self) -> float:
        """Write what is left, on the disk on return; return how many seconds were recorded."""
        if not self.failed:
            await self._pages.put(self._writer.end())
        await self._pages.join()
        self._task.cancel()
        await asyncio.wait([self._task])
        await asyncio.to_thread(self._finish)
        return self._writer.seconds

    async def _run(self) -> None:
        while True:
            pages = await self._pages.get()
            try:
                if not self.failed:
                    await asyncio.to_thread(_write, self._handle, pages)
            except OSError as error:
                self.failed = f"the recording can't be written: {error.strerror}"
            finally:
                self._pages.task_done()

    def _finish(self) -> None:
        try:
            os.fsync(self._handle)
        except OSError as error:
            self.failed = self.failed or f"the recording can't be written: {error.strerror}"
        finally:
            os.close(self._handle)


def _write(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]
