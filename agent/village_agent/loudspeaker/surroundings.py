"""What all loudspeakers of an agent share, as a station sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from village_agent.loudspeaker.scripts import Script
from village_agent.loudspeaker.store import Key, Stored
from village_wire.events import Event

if TYPE_CHECKING:
    from village_agent.loudspeaker.settings import LoudspeakersTable
    from village_agent.loudspeaker.witness import Witnesses


class Notes(Protocol):
    """What is kept of a station; `Journal` is such."""

    def put(self, stored: Stored) -> None:
        """An entry is new or has changed."""

    def note(self, stored: Stored) -> None:
        """An entry sounds on; nothing is lost if this is not kept."""

    def drop(self, key: Key) -> None:
        """An entry is over."""

    def tell(self, receipt: Event) -> None:
        """Let a receipt reach the collector."""

    async def saved(self) -> bool:
        """Return whether everything so far is on disk, once that is decided."""


class Power(Protocol):
    """Who switches amplifiers; `Amplifiers` is such."""

    async def take(self, name: str, user: str, lead_in: float) -> str:
        """Return when an amplifier has been on for `lead_in` seconds, or why it may be off."""

    def release(self, name: str, user: str, linger: float) -> None:
        """The amplifier is needed no longer."""


class Prepared(NamedTuple):
    """A broadcast's sound, and the chime of its class."""

    script: Script
    chime: Path | None = None


class Contents(Protocol):
    """Where sounds come from."""

    async def prepare(self, stored: Stored, *, chime: bool) -> Prepared:
        """Return the sound once it is there, however long that takes; raises `DriverError` or `OSError` if there will be none."""

    def problem(self, stored: Stored) -> str:
        """Why the sound is not there yet, empty if nothing is wrong."""

    def release(self, stored: Stored) -> None:
        """It is over, and its file needed no longer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`find` returns the handle of a device, None while it is away; `local` is what the clock on the wall shows at a time.

    `jitter` is a random number from 0 to 1. `witnesses` are meters and microphones. `sharpen` asks for a better time within so many
    seconds.
    """

    find: Callable[[str], object | None]
    now_ns: Callable[[], int]
    local: Callable[[float], datetime]
    notes: Notes
    power: Power
    contents: Contents
    jitter: Callable[[], float]
    witnesses: Witnesses | None = None
    sharpen: Callable[[float], None] = lambda _seconds: None


def witnesses_of(table: LoudspeakersTable, find: Callable[[str], object | None], state_dir: Path) -> Witnesses | None:
    """Return the meters and microphones that a configuration names for loudspeakers; None for none, which costs no memory then."""
    if not any(own.current or own.microphone for own in table.devices):
        return None
    from village_agent.loudspeaker.witness import Witnesses

    return Witnesses(find, state_dir)
