"""The condition of every device, as it was told: status, reason, evidence, since when. No clock and no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from village_agent.steadiness import Holds, State, Steadiness
from village_wire.states import Status


class Change(NamedTuple):
    """A device's condition that is to be told, and the one before it."""

    device: str
    before: State | None
    state: State


class StateTable:
    """The states by device id. What is told, and when, is decided by `steadiness`; `now` is seconds of a monotonic clock."""

    def __init__(self, holds: Holds | None = None) -> None:
        self._holds = holds or Holds()
        self._devices: dict[str, Steadiness] = {}

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return iter([(name, device.told) for name, device in self._devices.items() if device.told is not None])

    def get(self, device: str) -> State | None:
        """Return a device's state, or None if it is not known."""
        known = self._devices.get(device)
        return None if known is None else known.told

    def set(self, device: str, status: Status, code: str, evidence: str, now: float, time: datetime) -> Change | None:
        """Take what a driver says of its device at a moment (`time` by the calendar); return what is to be told now."""
        known = self._devices.setdefault(device, Steadiness(self._holds))
        known.observe(status, code, evidence, now, time)
        return self._settle(device, known, now)

    def settle(self, now: float) -> list[Change]:
        """Return what is to be told because it has lasted. Call it once a second."""
        changes = [self._settle(name, device, now) for name, device in self._devices.items()]
        return [change for change in changes if change is not None]

    def keep_only(self, devices: Iterable[str]) -> None:
        """Forget devices that are gone."""
        wanted = set(devices)
        self._devices = {name: device for name, device in self._devices.items() if name in wanted}

    @staticmethod
    def _settle(name: str, device: Steadiness, now: float) -> Change | None:
        before = device.told
        state = device.settle(now)
        return None if state is None else Change(name, before, state)
