"""The sound files of broadcasts: fetched before they are due, the highest class first, tried again until somebody gives up."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from village_agent.https import NotReached, trust
from village_agent.loudspeaker.download import Aborted, download, holds
from village_agent.loudspeaker.folder import SoundFolder
from village_wire.backoff import full_jitter
from village_wire.broadcasts import CLASSES, Audio, Class

_log = logging.getLogger(__name__)

_RETRY_BASE, _RETRY_CAP = 2.0, 120.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where sound files come from. `api` is the collector's address, None where nobody gave one."""

    api: str | None
    ca_file: Path | None = None
    #: Whether this box has a clock by which certificates can be judged.
    check_time: Callable[[], bool] = lambda: True

    def url(self, audio: Audio) -> str:
        """Where a file is."""
        return f"{(self.api or '').rstrip('/')}/api/v1/audio/{audio.sha256}"

    def context(self) -> ssl.SSLContext | None:
        """Whom to trust; raises `NotReached`."""
        if not (self.api or "").startswith("https:"):
            return None
        return trust(self.ca_file, check_time=self.check_time())


@dataclass(slots=True)
class _Want:
    """A file that somebody waits for, the most urgent class of those who do, and since when it is worth a try."""

    audio: Audio
    rank: int
    due: float = 0.0
    attempt: int = 0
    waiters: list[asyncio.Future[Path]] = field(default_factory=list)
    problem: str = ""


class AudioCache:
    """Give `run` to a task. Files are named by their hash."""

    def __init__(self, folder: SoundFolder, source: Source) -> None:
        self._folder = folder
        self.source = source
        self._wants: dict[str, _Want] = {}
        self._changed = asyncio.Event()
        self._current: _Want | None = None
        self._abort = threading.Event()
        #: Called with the file's hash and the reason, when a try has failed.
        self.on_problem: Callable[[str, str], None] = lambda _sha256, _reason: None

    async def get(self, audio: Audio, rank: Class) -> Path:
        """Return the file once it is there and whole; waits as long as the caller does. The caller has pinned it."""
        if await self._is_there(audio):
            return self._folder.path(audio.sha256)
        urgency = CLASSES.index(rank)
        want = self._wants.setdefault(audio.sha256, _Want(audio, urgency))
        if urgency < want.rank:
            want.rank, want.due = urgency, 0.0
        want.audio = audio
        waiter: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        want.waiters.append(waiter)
        if self._current is not None and want.rank < self._current.rank:
            self._abort.set()
        self._changed.set()
        try:
            return await waiter
        finally:
            want.waiters.remove(waiter)
            if not want.waiters:
                self._wants.pop(audio.sha256, None)
                if self._current is want:
                    self._abort.set()

    def problem(self, audio: Audio) -> str:
        """Why the last try for a file failed, empty if there was none."""
        want = self._wants.get(audio.sha256)
        return want.problem if want else ""

    async def run(self) -> None:
        """Fetch what is wanted, one file at a time, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            ready = [want for want in self._wants.values() if want.due <= loop.time() and want.waiters]
            if ready:
                await self._fetch(min(ready, key=lambda want: want.rank))
                continue
            later = min((want.due for want in self._wants.values()), default=None)
            try:
                async with asyncio.timeout_at(later):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _fetch(self, want: _Want) -> None:
        self._current, self._abort = want, threading.Event()
        try:
            path = await self._work(want)
        except Aborted:
            return
        except (NotReached, OSError) as error:
            want.problem = f"the sound file can't be fetched: {error}"
            _log.info("sound file %s: %s", want.audio.sha256[:12], want.problem)
            want.due = asyncio.get_running_loop().time() + full_jitter(
                want.attempt, random.random(), base=_RETRY_BASE, cap=_RETRY_CAP
            )
            want.attempt += 1
            self.on_problem(want.audio.sha256, want.problem)
            return
        finally:
            # A thread can't be cancelled; it ends by itself at the next piece.
            self._abort.set()
            self._current = None
        self._wants.pop(want.audio.sha256, None)
        for waiter in want.waiters:
            if not waiter.done():
                waiter.set_result(path)

    async def _work(self, want: _Want) -> Path:
        audio, name = want.audio, want.audio.sha256
        await asyncio.to_thread(self._folder.make_room, name, audio.bytes)
        context = await asyncio.to_thread(self.source.context)
        work = partial(download, self.source.url(audio), audio, self._folder.part(name), context, self._abort)
        await asyncio.to_thread(work)
        return await asyncio.to_thread(self._folder.keep, name)

    async def _is_there(self, audio: Audio) -> bool:
        """Whether the file is there. It is read through: a card that rots must not end a broadcast in its middle."""
        try:
            if not await asyncio.to_thread(self._folder.has, audio.sha256):
                return False
            if await asyncio.to_thread(holds, self._folder.path(audio.sha256), audio):
                return True
            _log.warning("sound file %s is damaged; it is fetched again", audio.sha256[:12])
            await asyncio.to_thread(self._folder.remove, audio.sha256)
        except OSError as error:
            _log.warning("sound file %s: %s", audio.sha256[:12], error)
        return False
