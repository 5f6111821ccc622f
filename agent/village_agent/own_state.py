"""The agent's own condition: the worst of what its parts say, told when it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from village_agent.clock.clock import from_ns
from village_agent.report import Hub
from village_wire.events import StateChanged
from village_wire.states import Status

_RANK: dict[Status, int] = {"ok": 0, "unknown": 1, "degraded": 2, "down": 3}
#: An agent that has been connected for so long should have been told the time.
UNSURE_SECONDS = 60.0
_LOOK_SECONDS = 5.0


class OwnState:
    """Parts report; the first of the worst is the agent's state."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._parts: dict[str, tuple[Status, str, str]] = {}
        self._told: tuple[Status, str] = ("ok", "works")

    def set(self, part: str, status: Status, code: str, evidence: str) -> None:
        """Take a part's condition; a reason code of `village_wire.states`."""
        self._parts[part] = (status, code, evidence)
        worst = max(self._parts.values(), key=lambda condition: _RANK[condition[0]])
        if worst[:2] == self._told:
            return
        self._told = worst[:2]
        since = from_ns(self._hub.now_ns())
        state = StateChanged(
            status=worst[0], code=worst[1], evidence=worst[2][:1000], since=since, session=self._hub.session
        )
        self._hub.post(None, state)


async def watch_clock(own: OwnState, known: asyncio.Event, connected: Callable[[], bool]) -> None:
    """Say that the time is not known when the collector has not told it for a while; ends when it is known."""
    since = None
    while not known.is_set():
        now = time.monotonic()
        since = (since or now) if connected() else None
        if since is not None and now - since >= UNSURE_SECONDS:
            evidence = f"connected for {UNSURE_SECONDS:.0f} s and not told the time; doors go on without a date"
            own.set("clock", "degraded", "clock_unsure", evidence)
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await known.wait()
        except TimeoutError:
            continue
    own.set("clock", "ok", "works", "")
