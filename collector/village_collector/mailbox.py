"""Messages between the MQTT session and the task that stores them, bounded in bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque

from village_wire.incoming import Received

_log = logging.getLogger(__name__)

#: What a waiting message takes beside its bytes; bounds the number of small ones.
_OVERHEAD = 400
#: Of the room, for one topic: an agent sends eight batches of 64 KiB and waits for their acks.
_SHARE = 16
#: A flood is told so often.
_TELL_SECONDS = 60.0


class Mailbox:
    """First in, first out. A batch that is sent again while it waits is kept once; what does not fit is dropped, for it is sent again."""

    def __init__(self, name: str, max_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._waiting: deque[Received] = deque()
        self._keys: set[tuple[str, bytes]] = set()
        self._bytes = 0
        self._by_topic: dict[str, int] = {}
        self._dropped = 0
        self._told = -_TELL_SECONDS
        self._closed = False
        #: Set when so many bytes wait as the one who waits for them wants.
        self._wanted = 1
        self._enough = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Whether nothing more is to be taken."""
        return self._closed

    def put(self, message: Received) -> None:
        """Add a message; never blocks, never raises."""
        size = _size(message)
        mine = self._by_topic.get(message.topic, 0) + size
        # One agent that floods must not take the room of all others. What is larger than a share may wait alone.
        if mine > self._max_bytes // _SHARE and mine > size:
            self._tell_flood(message.topic)
            return
        if self._bytes + size > self._max_bytes:
            if not self._dropped:
                _log.warning(
                    "%s: %d bytes wait to be stored; more is dropped until they are, and sent again",
                    self._name,
                    self._bytes,
                )
            self._dropped += 1
            return
        if message.correlation:
            key = (message.topic, message.correlation)
            if key in self._keys:
                return
            self._keys.add(key)
        self._waiting.append(message)
        self._bytes += size
        self._by_topic[message.topic] = mine
        if self._bytes >= self._wanted:
            self._enough.set()

    def _tell_flood(self, topic: str) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            _log.warning(
                "%s: more waits on %s than one agent may have waiting; the rest is dropped, and sent again",
                self._name,
                topic[:80],
            )

    def pop(self) -> Received | None:
        """Return the oldest message, or None."""
        if not self._waiting:
            return None
        message = self._waiting.popleft()
        size = _size(message)
        self._bytes -= size
        rest = self._by_topic[message.topic] - size
        if rest:
            self._by_topic[message.topic] = rest
        else:
            del self._by_topic[message.topic]
        self._keys.discard((message.topic, message.correlation))
        if self._dropped and self._bytes < self._max_bytes // 2:
            _log.info("%s: takes messages again; %d were dropped", self._name, self._dropped)
            self._dropped = 0
        return message

    async def wait(self, full_bytes: int, seconds: float) -> bool:
        """Return True as soon as `full_bytes` wait, or `seconds` after something did; False once closed."""
        await self._until(1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until(full_bytes)
        return not self._closed

    def close(self) -> None:
        """Let the one who waits go; what still waits here was never acknowledged."""
        self._closed = True
        self._enough.set()

    async def _until(self, wanted: int) -> None:
        self._wanted = wanted
        while self._bytes < wanted and not self._closed:
            self._enough.clear()
            await self._enough.wait()


def _size(message: Received) -> int:
    return (
        len(message.payload) + len(message.topic) + len(message.correlation) + len(message.response_topic) + _OVERHEAD
    )
