"""The condition of every device: status, reason, evidence, since when. No clock and no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from village_wire.states import Status


@dataclass(frozen=True, slots=True)
class State:
    """One device's condition since `since`."""

    status: Status
    code: str
    evidence: str
    since: datetime


class StateTable:
    """The states by device id."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return iter(list(self._states.items()))

    def get(self, device: str) -> State | None:
        """Return a device's state, or None if it is not known."""
        return self._states.get(device)

    def set(self, device: str, status: Status, code: str, evidence: str, now: datetime) -> bool:
        """Enter a state; return whether status or code changed. The newest evidence is kept either way, `since` only if both stayed."""
        before = self._states.get(device)
        same = before is not None and (before.status, before.code) == (status, code)
        since = before.since if before is not None and same else now
        self._states[device] = State(status, code, evidence, since)
        return not same

    def keep_only(self, devices: Iterable[str]) -> None:
        """Forget devices that are gone."""
        wanted = set(devices)
        self._states = {device: state for device, state in self._states.items() if device in wanted}
