"""The amplifier of one loudspeaker, as its queue needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from village_agent.loudspeaker.policy import Profile
from village_agent.loudspeaker.surroundings import Power


class Supply:
    """Switches the amplifier on before a sound is due, and off when nothing needs it. Does nothing where there is none."""

    def __init__(self, device: str, profile: Profile, power: Power) -> None:
        self._device = device
        self._profile = profile
        self._power = power
        self._needed = False
        self._warming: asyncio.Task[str] | None = None

    def begin(self) -> Callable[[], Awaitable[str]] | None:
        """A sound begins; return what it must await first: the answer is why the amplifier may be off."""
        if self._profile.amplifier is None:
            return None
        self._needed = True
        return partial(self._power.take, self._profile.amplifier, self._device, self._profile.lead_in)

    def look(self, now: float, due: Iterable[float]) -> None:
        """Nothing sounds; `due` is when each of what waits may begin."""
        name = self._profile.amplifier
        if name is None:
            return
        if any(time - self._profile.lead_in <= now for time in due):
            if not self._needed:
                self._needed = True
                take = self._power.take(name, self._device, self._profile.lead_in)
                self._warming = asyncio.create_task(take, name=f"power of {self._device}")
        elif self._needed:
            self._needed = False
            self._power.release(name, self._device, self._profile.linger)

    def changes(self, due: Iterable[float]) -> list[float]:
        """Return when `look` has something to do."""
        return [] if self._profile.amplifier is None else [time - self._profile.lead_in for time in due]

    def close(self) -> None:
        """Switch nothing any more."""
        if self._warming is not None:
            self._warming.cancel()
