"""How fast an agent may send. No clock and no randomness: times and numbers come in as arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """What the configuration says of sending (table `[outbox]`). Times in seconds."""

    #: A reading on disk waits at the most so long for others before it travels.
    send_seconds: float = 300.0
    #: What piled up during an outage travels at this rate, bytes a second.
    drain_bytes_per_second: int = 64 * 1024
    #: It begins to travel at a random moment within this time.
    drain_spread_seconds: float = 30.0

    def gathering(self, connected_for: float) -> float:
        """How long readings are gathered. Less in the first minutes: whoever has just connected a box looks at it."""
        return min(self.send_seconds, 1.0 + connected_for)

    def first_pause(self, age: float, chance: float) -> float:
        """How long after a connection the backlog waits. `age` is that of its oldest entry, `chance` a random number below 1.

        The longer the outage, the more agents come back at the same moment.
        """
        return min(self.drain_spread_seconds, max(age, 0.0) / 10) * chance


class TokenBucket:
    """A limit in bytes a second. What was sent may exceed it once; then there is a pause until it is made up for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._level = rate
        self._time = 0.0
        self._held_until = 0.0

    def hold(self, until: float) -> None:
        """Let nothing pass before a time."""
        self._held_until = until

    def wait(self, now: float) -> float:
        """Seconds until something may be sent, 0 for at once."""
        level = self._filled(now)
        return max(self._held_until - now, 0.0 if level >= 0 else -level / self._rate, 0.0)

    def take(self, size: int, now: float) -> None:
        """Count what is sent."""
        self._level = self._filled(now) - size
        self._time = now

    def _filled(self, now: float) -> float:
        # One second's worth can be saved up.
        return min(self._rate, self._level + max(0.0, now - self._time) * self._rate)
