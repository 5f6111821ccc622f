"""When what is in memory is written to the outbox's file."""

from __future__ import annotations

import asyncio
import time

#: In the first minutes a reading waits less: whoever has just switched a box on looks at it.
_FIRST_SECONDS = 1.0


class WriteTimer:
    """Wakes whoever writes: at once, or some seconds after the first reading came. Touched by the event loop only."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long a reading waits at the most for others."""
        self._seconds = seconds
        self._started = time.monotonic()
        self._due = asyncio.Event()
        self._handle: asyncio.TimerHandle | None = None

    def now(self) -> None:
        """Write at once."""
        self._due.set()

    def soon(self) -> None:
        """Write in some seconds, together with what comes until then."""
        if self._handle is None:
            age = time.monotonic() - self._started
            seconds = min(self._seconds, _FIRST_SECONDS + age / 10)
            self._handle = asyncio.get_running_loop().call_later(seconds, self._due.set)

    async def wait(self) -> None:
        """Return when something is to be written."""
        await self._due.wait()
        self._due.clear()

    def begun(self) -> None:
        """All that is there is being written: what comes from here on waits anew."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
