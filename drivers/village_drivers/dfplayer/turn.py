"""One use of the board by a caller, and what the board says meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from village_drivers.dfplayer.frames import Fault
from village_drivers.dfplayer.link import BoardLink
from village_drivers.kit import Refused
from village_drivers.turn import Turn

#: The board did not understand, or not yet: the same order again may do.
PASSING = frozenset({Fault.INITIALISING, Fault.INCOMPLETE, Fault.CHECKSUM})
_REASONS: dict[int, tuple[str, str]] = {
    Fault.INITIALISING: ("rejected", "it is still starting"),
    Fault.ASLEEP: ("rejected", "it sleeps"),
    Fault.INCOMPLETE: ("noise", "it received half a frame"),
    Fault.CHECKSUM: ("noise", "it received a frame with a wrong checksum"),
    Fault.OUT_OF_RANGE: ("track_missing", "the track is out of range"),
    Fault.NOT_FOUND: ("track_missing", "the card has no such track"),
    Fault.NOT_PLAYING: ("rejected", "nothing plays that could be interrupted"),
    Fault.CARD_UNREADABLE: ("card_failed", "it can't read the card"),
    Fault.FELL_ASLEEP: ("rejected", "it fell asleep"),
}


def refusal(fault: int, what: str) -> Refused:
    """Return the error for what the board answered to `what`."""
    code, reason = _REASONS.get(fault, ("rejected", "it gives no known reason"))
    return Refused(code, f"{what}: the board answers error {fault}, {reason}")


class BoardTurn(Turn):
    """The use of the board by one play or stop."""

    def __init__(self, link: BoardLink) -> None:
        super().__init__()
        self.link = link
        #: Number of the file whose end the board reported.
        self.finished: int | None = None
        self.fault: int | None = None
        self._changed = asyncio.Event()

    def hear(self, *, finished: int | None = None, fault: int | None = None) -> None:
        """Take note of what the board said."""
        self.finished = self.finished if finished is None else finished
        self.fault = self.fault if fault is None else fault
        self._changed.set()

    def forget(self) -> None:
        """What was said before the next order does not concern it."""
        self.finished = self.fault = None

    async def news(self, seconds: float) -> None:
        """Wait until the board says something, for `seconds` at most."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
