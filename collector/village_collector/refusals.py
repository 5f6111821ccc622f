"""How many refusals are recorded one by one: a flood must fill neither the disk nor the audit log. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

#: So many refusals of one kind of caller are recorded one by one; what comes on top is counted.
MAX_REFUSALS = 60
WINDOW_SECONDS = 60.0
#: Addresses that a flood is told with; those on top are one number.
_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class Flood:
    """Refusals that were counted and not recorded: how many, from where, in how many seconds."""

    actor: str
    count: int
    addresses: dict[str, int]
    seconds: float

    def __str__(self) -> str:
        named = ", ".join(f"{address or 'unknown'} ({count})" for address, count in self.addresses.items())
        others = self.count - sum(self.addresses.values())
        return (
            f"{self.count} further refusals within {self.seconds:.0f} s, counted only; from {named}"
            f"{f' and others ({others})' if others else ''}"
        )


@dataclass(slots=True)
class _Window:
    began: float
    recorded: int = 0
    missed: int = 0
    last: float = 0.0
    addresses: dict[str, int] = field(default_factory=dict)


class RefusalLimit:
    """Counts per actor, all unknown callers ("") being one. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def admit(self, actor: str, address: str, now: float) -> bool:
        """Tell whether this refusal is to be recorded; else it is counted. Take `ended` first."""
        window = self._windows.get(actor)
        if window is None:
            window = self._windows[actor] = _Window(now)
        if window.recorded < MAX_REFUSALS:
            window.recorded += 1
            return True
        window.missed += 1
        window.last = now
        if address in window.addresses or len(window.addresses) < _ADDRESSES:
            window.addresses[address] = window.addresses.get(address, 0) + 1
        return False

    def ended(self, now: float, *, all_of_them: bool = False) -> list[Flood]:
        """Return what was counted in windows that are over (or in all), each once; the windows are forgotten."""
        over = [actor for actor, window in self._windows.items() if all_of_them or now - window.began >= WINDOW_SECONDS]
        floods = []
        for actor in over:
            window = self._windows.pop(actor)
            if window.missed:
                floods.append(Flood(actor, window.missed, window.addresses, window.last - window.began))
        return floods
