"""How noisy a serial line is. Pure: times are seconds of any clock that come in as arguments."""

from __future__ import annotations

#: A single stray byte at power-up is no noise.
_NOISE_BYTES = 3


class LineNoise:
    """Counts the bytes that belong to no reply until the line was clean for `quiet` seconds."""

    def __init__(self, quiet: float) -> None:
        self.quiet = quiet
        self._bytes = 0
        self._since = self._last = -float("inf")

    def heard(self, count: int, now: float) -> None:
        """Take note of `count` strange bytes."""
        if now - self._last > self.quiet:
            self._bytes, self._since = 0, now
        self._bytes += count
        self._last = now

    def present(self, now: float) -> bool:
        """Whether the line is noisy."""
        return self._bytes >= _NOISE_BYTES and now - self._last <= self.quiet

    def evidence(self, now: float) -> str:
        """What was heard and for how long."""
        return f"{self.count} in {now - self._since:.0f} s"

    @property
    def count(self) -> str:
        """How much was heard."""
        return f"{self._bytes} bytes that are no reply"
