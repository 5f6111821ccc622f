"""A broadcast at one loudspeaker while it is not over, and how patient the loudspeaker is with its device."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from village_agent.loudspeaker.announcer import Entry
from village_agent.loudspeaker.policy import Profile
from village_agent.loudspeaker.scripts import LiveScript, Script
from village_agent.loudspeaker.store import Stored
from village_agent.loudspeaker.surroundings import Prepared
from village_wire.backoff import full_jitter
from village_wire.broadcasts import Stage

if TYPE_CHECKING:
    from village_agent.loudspeaker.witness import Witness, Witnesses

#: A sound that a device refuses is tried so often without getting on.
MAX_TRIES = 3
#: A device that is away is tried again, until the broadcast's time ends.
_RETRY_LEAST, _RETRY_BASE, _RETRY_CAP = 0.2, 1.0, 30.0


@dataclass(slots=True)
class Item:
    """A broadcast that is not over."""

    stored: Stored
    prepared: Prepared | None = None
    preparing: asyncio.Task[None] | None = None
    #: Whether the present play has been heard in part.
    heard: bool = False
    #: Whether it was told that a live voice may begin.
    ready: bool = False
    #: Why the last try failed, and how many did without getting on.
    fault: str = ""
    tries: int = 0
    #: Who watches the present play.
    witness: Witness | None = None
    #: How many plays ended that nothing contradicts, and what contradicts another one.
    confirmed: int = 0
    contradiction: str = ""

    @property
    def id(self) -> str:
        """The broadcast's, as the announcer knows it."""
        return str(self.stored.id)

    @property
    def chime_seconds(self) -> float:
        """How long the chime sounds that opens it, 0 without one."""
        if self.prepared is None or self.prepared.chime is None:
            return 0.0
        from village_agent.loudspeaker.chimes import chime_seconds

        return chime_seconds(self.stored.broadcast.rank)

    def at(self, position: float) -> tuple[Script, float] | None:
        """Return a position with the script in which it is one, None before there is a script."""
        return None if self.prepared is None else (self.prepared.script, position)

    def snapshot(self, entry: Entry | None, *, sounding: bool) -> Stored:
        """Return it as it should stand on disk; `entry` is what the announcer knows of it."""
        if entry is None:
            return self.stored
        return replace(self.stored, entry=replace(entry, begun=self.heard or sounding), sounding=sounding)

    def watched(self, witnesses: Witnesses | None, profile: Profile, script: Script) -> Witness | None:
        """Return who watches the play that begins, or goes on."""
        if witnesses is not None and (self.witness is None or not self.heard):
            wanted, live = self.stored.broadcast, isinstance(script, LiveScript)
            volume = profile.volume(wanted.rank, wanted.volume)
            self.witness = witnesses.of(self.stored.device, profile, wanted.rank, volume, live=live)
        return self.witness

    def close(self) -> None:
        """Nothing is prepared and nobody watches any more."""
        if self.preparing is not None and self.preparing is not asyncio.current_task():
            self.preparing.cancel()
        if self.witness is not None:
            self.witness.close()

    def ended(self, evidence: str) -> str:
        """A play ended; return `evidence` with what its witness says."""
        said, self.witness = None if self.witness is None else self.witness.verdict(), None
        if said is not None and said.contradiction:
            self.contradiction = said.contradiction
        else:
            self.confirmed += 1
        return "; ".join(part for part in (evidence, said.evidence if said is not None else "") if part)

    def judged(self, stage: Stage, reason: str) -> tuple[Stage, str]:
        """Return how it ends: what finished has failed if each of its plays is contradicted."""
        if stage != "finished" or not self.contradiction:
            return stage, reason
        if not self.confirmed:
            return "failed", self.contradiction
        return stage, "; ".join(part for part in (reason, f"not heard each time: {self.contradiction}") if part)


class Patience:
    """When a device that failed is tried again."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` is a random number from 0 to 1."""
        self._jitter = jitter
        self._not_before = 0.0
        self._away = 0

    @property
    def seconds(self) -> float:
        """How long the device is left alone from now on."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())

    def reset(self) -> None:
        """Somebody knows better: the device is tried at once."""
        self._not_before = 0.0

    def worked(self) -> None:
        """A sound was heard to its end."""
        self._away = 0

    def failed(self, item: Item, *, is_away: bool, went_on: bool) -> bool:
        """A try failed, after it `went_on` for a while or at once; return whether another one makes sense."""
        item.tries = 1 if went_on else item.tries + 1
        self._away = (1 if went_on else self._away + 1) if is_away else 0
        if item.tries >= MAX_TRIES and not is_away:
            return False
        seconds = full_jitter(max(item.tries, self._away) - 1, self._jitter(), base=_RETRY_BASE, cap=_RETRY_CAP)
        self._not_before = asyncio.get_running_loop().time() + max(_RETRY_LEAST, seconds)
        return True
