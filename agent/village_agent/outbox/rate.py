"""How fast something has come of late. No clock: times come in as arguments."""

from __future__ import annotations

#: Two windows are kept, so that a rate speaks of the last half hour to hour.
_WINDOW_SECONDS = 1800.0
#: The first minute of a program says little of the next hours.
_LEAST_SECONDS = 60.0


class Rate:
    """A sum per second over the last half hour to hour."""

    def __init__(self, now: float) -> None:
        self._begun = now
        self._earlier_begun = now
        self._earlier = 0.0
        self._amount = 0.0

    def add(self, amount: float, now: float) -> None:
        """Count an amount at a monotonic time."""
        if now - self._begun >= 2 * _WINDOW_SECONDS:
            self._earlier, self._earlier_begun = 0.0, now - _WINDOW_SECONDS
            self._amount, self._begun = 0.0, now
        elif now - self._begun >= _WINDOW_SECONDS:
            self._earlier, self._earlier_begun = self._amount, self._begun
            self._amount, self._begun = 0.0, now
        self._amount += amount

    def per_second(self, now: float) -> float:
        """The rate at a monotonic time."""
        self.add(0.0, now)
        return (self._earlier + self._amount) / max(_LEAST_SECONDS, now - self._earlier_begun)
