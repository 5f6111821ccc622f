"""What a device can do, as small protocols. A command is given to a device only if it has the ability."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol, runtime_checkable

Colour = Literal["red", "green", "amber", "blue"]


@runtime_checkable
class Loudspeaker(Protocol):
    """Speaks and falls silent."""

    async def say(self, text: str, volume: float | None) -> str:
        """Speak `text` and return when the last sound is out; the answer is the evidence that it sounded.

        `volume` is in percent of the device's range; None keeps the configured one. Cancelling stops the sound.

        Raises:
            Refused: the device did not accept the text, or was stopped before its end.
            NotConnected: the device does not answer.
        """

    async def stop(self) -> None:
        """Silence the loudspeaker; a `say` that is under way ends with `Refused`. Raises as `say`."""


@runtime_checkable
class FilePlayer(Protocol):
    """Plays a sound file, and can go on where it stopped."""

    @property
    def position_seconds(self) -> float:
        """Seconds of the present or last file that have been heard, counted from its beginning: where `play_from` resumes it."""

    async def play_from(self, path: str, volume: float | None, start_seconds: float) -> str:
        """Play a file from `start_seconds` to its end; contract as `Loudspeaker.say`."""


@runtime_checkable
class OwnVoice(Protocol):
    """A `FilePlayer` that may have a voice of its own; without this the box speaks texts for all that play files."""

    @property
    def speaks_itself(self) -> bool:
        """Whether texts are given to its `say` rather than made into a file."""


@runtime_checkable
class PunctualPlayer(FilePlayer, Protocol):
    """A `FilePlayer` that can begin at a given moment, so that several loudspeakers begin together."""

    @property
    def ahead_seconds(self) -> float:
        """How long before that moment it must be asked."""

    async def play_at(self, path: str, volume: float | None, at: float) -> str:
        """Play a file to its end, its first sample being heard at `at`, a time of `time.monotonic`; else as `FilePlayer.play_from`.

        Silent until then. It begins as soon as it can where it was asked too late, and says so in the evidence.
        """


class LiveSource(Protocol):
    """Sound that is being made: signed 16 bit little endian, mono, 48 kHz."""

    def read(self, gain: float) -> bytes:
        """Return the next 20 ms, scaled by `gain`; empty at the end. Neither blocks nor raises."""


@runtime_checkable
class LivePlayer(Protocol):
    """Plays sound while it is being made."""

    @property
    def position_seconds(self) -> float:
        """Seconds of the present or last sound that have been heard."""

    async def play_live(self, source: LiveSource, volume: float | None) -> str:
        """Play until the source ends; contract as `Loudspeaker.say`. Delays the sound as little as the output allows."""


@runtime_checkable
class TrackPlayer(Protocol):
    """Plays recorded tracks of its own card by number; no text and no file of ours."""

    async def play_track(self, folder: int, number: int, volume: float | None) -> str:
        """Play a track to its end; contract as `Loudspeaker.say`. Folder 0 is the one for tracks without a folder."""

    async def stop(self) -> None:
        """Silence it; contract as `Loudspeaker.stop`."""


@runtime_checkable
class Door(Protocol):
    """Releases a lock."""

    async def unlock(self, seconds: float) -> None:
        """Release the lock now and secure it again after `seconds`; return when the device confirmed the release.

        Raises:
            Refused: the device answered that it will not.
            NotConnected: the device does not answer.
        """


@runtime_checkable
class Switch(Protocol):
    """Switches something on or off: a relay, an amplifier, a siren."""

    async def switch(self, on: bool) -> None:
        """Set the switch and return when the device confirmed it. Raises as `Door.unlock`."""


@runtime_checkable
class Camera(Protocol):
    """Delivers pictures."""

    async def snapshot(self) -> bytes:
        """Return one JPEG picture taken now.

        Raises:
            Refused: the camera delivers no picture; the text says why.
            NotConnected: the camera does not answer.
        """


@runtime_checkable
class Meter(Protocol):
    """Measures one quantity, whenever it is asked."""

    async def measure(self) -> float:
        """Return what is measured now, in the device's own unit.

        Raises:
            Refused: the device answered that it can't.
            NotConnected: the device does not answer.
        """


#: In which microphones record: signed 16 bit little endian, mono, so many samples a second.
RECORDING_RATE = 8000


@runtime_checkable
class Microphone(Protocol):
    """Hears what sounds around it. It hears only while somebody asks it to, and keeps nothing."""

    async def record(self, begun: asyncio.Event, over: asyncio.Event, longest_seconds: float) -> bytes:
        """Record from now until `over` is set, at most so long; return the samples, see `RECORDING_RATE`.

        It sets `begun` once it hears.

        Raises:
            Refused: it delivers no sound; the text says why.
            NotConnected: there is no such microphone now.
        """


@runtime_checkable
class Indicator(Protocol):
    """Shows a light and makes a short sound, so that a person on site finds the device."""

    async def indicate(self, colour: Colour, buzzer: bool, seconds: float) -> None:
        """Show `colour`, with sound if `buzzer`, for `seconds`; return once the device has it. Raises as `Door.unlock`."""


ABILITIES: dict[str, type] = {
    "loudspeaker": Loudspeaker,
    "file_player": FilePlayer,
    "live_player": LivePlayer,
    "track_player": TrackPlayer,
    "door": Door,
    "switch": Switch,
    "camera": Camera,
    "meter": Meter,
    "microphone": Microphone,
    "indicator": Indicator,
}


def abilities_of(device: object) -> tuple[str, ...]:
    """Return the names of the abilities that a device has, in the order of `ABILITIES`."""
    return tuple(name for name, ability in ABILITIES.items() if isinstance(device, ability))
