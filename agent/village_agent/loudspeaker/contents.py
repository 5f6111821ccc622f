"""The sound of each broadcast: a fetched file, a text made a file, sentences that the device speaks, a track of its card, or a live voice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from village_agent.loudspeaker.cache import AudioCache
from village_agent.loudspeaker.folder import SoundFolder
from village_agent.loudspeaker.live.voices import Voices
from village_agent.loudspeaker.scripts import FileScript, LiveScript, SpokenScript, TrackScript
from village_agent.loudspeaker.sentences import sentences
from village_agent.loudspeaker.sounds import Sounds, Voice
from village_agent.loudspeaker.store import Key, Stored
from village_agent.loudspeaker.surroundings import Prepared
from village_drivers.kit import Refused
from village_wire.broadcasts import CLASSES

_log = logging.getLogger(__name__)

#: At the slowest.
_SECONDS_PER_CHARACTER = 0.8


class FileContents:
    """See `surroundings.Contents`."""

    def __init__(
        self,
        folder: SoundFolder,
        cache: AudioCache,
        voices: Voices,
        plays_files: Callable[[str], bool],
        voice: Callable[[str], Voice | None],
    ) -> None:
        """`plays_files` and `voice` are of a loudspeaker by its id; no voice: it speaks texts itself."""
        self._folder = folder
        self._cache = cache
        self._voices = voices
        self._sounds = Sounds(folder)
        self._plays_files = plays_files
        self._voice = voice
        #: The file that is kept for each broadcast.
        self._pinned: dict[Key, str] = {}
        self._making: dict[Key, asyncio.Task[float]] = {}
        #: The stream that each live broadcast is heard from.
        self._live: dict[Key, UUID] = {}

    async def prepare(self, stored: Stored, *, chime: bool) -> Prepared:
        """See `surroundings.Contents`."""
        wanted = stored.broadcast
        opening = None
        if chime and self._plays_files(stored.device):
            opening = await self._sounds.chime(wanted.rank)
        if wanted.live is not None:
            self._live[stored.key] = wanted.live.stream
            return Prepared(LiveScript(self._voices.open(wanted.live), self._voices.clock), opening)
        if wanted.audio is not None:
            self._pin(stored.key, wanted.audio.sha256)
            path = await self._cache.get(wanted.audio, wanted.rank)
            return Prepared(FileScript(path, wanted.audio.seconds), opening)
        if wanted.track is not None:
            return Prepared(TrackScript(wanted.track.folder, wanted.track.number), opening)
        text = wanted.text or ""
        # A position of an earlier run counts what the sound was then.
        voice = self._voice(stored.device)
        if stored.script == "seconds" or (not stored.script and voice is not None):
            try:
                script = await self._render(stored.key, text, voice or Voice())
                if opening is None or stored.script:
                    await script.made()
                return Prepared(script, opening)
            except OSError as error:
                if stored.script:
                    raise
                _log.warning("a text is spoken without a file: %s", error)
        return Prepared(SpokenScript(sentences(text)), opening)

    async def make_chimes(self) -> None:
        """Make the chimes of all classes, so that no first broadcast waits for its own."""
        for rank in CLASSES:
            await self._sounds.chime(rank)

    def problem(self, stored: Stored) -> str:
        """See `surroundings.Contents`."""
        if stored.broadcast.track is not None:
            # It needs nothing that could be missing.
            return "the agent was off when its time ended"
        audio = stored.broadcast.audio
        return "" if audio is None else self._cache.problem(audio)

    def release(self, stored: Stored) -> None:
        """See `surroundings.Contents`."""
        stream = self._live.pop(stored.key, None)
        if stream is not None and stream not in self._live.values():
            self._voices.close(stream)
        making = self._making.pop(stored.key, None)
        if making is not None:
            making.cancel()
        name = self._pinned.pop(stored.key, None)
        if name is not None:
            self._folder.unpin(name)

    async def close(self) -> None:
        """Render nothing any more."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        if making:
            await asyncio.wait(making)

    async def _render(self, key: Key, text: str, voice: Voice) -> FileScript:
        if not voice.name:
            raise Refused("rejected", "this loudspeaker has no voice configured")
        name = self._sounds.name(text, voice)
        self._pin(key, name)
        await self._sounds.check(text, voice)
        # A chime sounds longer than the rendering takes, so the one need not wait for the other.
        making = asyncio.create_task(self._sounds.render(text, voice), name=f"render {name[:16]}")
        self._making[key] = making
        making.add_done_callback(_look_at)
        return FileScript(self._folder.path(name), _SECONDS_PER_CHARACTER * len(text), making)

    def _pin(self, key: Key, name: str) -> None:
        if key not in self._pinned:
            self._pinned[key] = name
            self._folder.pin(name)


def _look_at(task: asyncio.Task[float]) -> None:
    """A text may be withdrawn before anybody asks how its rendering ended."""
    if not task.cancelled():
        task.exception()
