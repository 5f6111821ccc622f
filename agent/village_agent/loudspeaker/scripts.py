"""What is to be heard, as a loudspeaker takes it: a file, sentences, a track of its own card, or a live voice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from village_agent.loudspeaker.store import ScriptKind
from village_drivers.kit import Refused

if TYPE_CHECKING:
    from village_agent.loudspeaker.live.voices import LiveVoice


@dataclass(slots=True)
class FileScript:
    """A sound file; positions in it are seconds. While it is `making`, `seconds` is a guess; the task returns the truth."""

    kind: ClassVar[ScriptKind] = "seconds"
    path: Path
    seconds: float
    making: asyncio.Task[float] | None = None

    async def made(self) -> None:
        """Return once the file is whole; raises `DriverError` if it will not be."""
        if self.making is not None:
            try:
                self.seconds = await asyncio.shield(self.making)
            except OSError as error:
                raise Refused("unplayable", str(error)) from None
            self.making = None


@dataclass(frozen=True, slots=True)
class SpokenScript:
    """A text that the device speaks itself; positions in it are sentences."""

    kind: ClassVar[ScriptKind] = "sentences"
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrackScript:
    """A track of the device's own card. It has one position, its beginning: the device can't go on within it."""

    kind: ClassVar[ScriptKind] = "track"
    folder: int
    number: int


@dataclass(frozen=True, slots=True)
class LiveScript:
    """A voice that is being spoken; positions in it are the seconds of it that were heard. `clock` is monotonic."""

    kind: ClassVar[ScriptKind] = "seconds"
    voice: LiveVoice
    clock: Callable[[], float]


Script = FileScript | SpokenScript | TrackScript | LiveScript
