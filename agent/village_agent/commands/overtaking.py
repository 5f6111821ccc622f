"""Commands that a later one overtook on its way. Pure."""

from __future__ import annotations

from datetime import datetime

from village_wire.commands import Command

#: Kinds that must not act once one of another kind, issued later, has acted on the same device: a broadcast would sound after its stop.
_OVERTAKEN_BY = {"broadcast": "stop", "switch": "switch"}


class Overtaking:
    """Knows when the latest `stop` and `switch` of each device were issued."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], datetime] = {}

    def why_not(self, command: Command, device: str) -> str:
        """Return why a command must not act on a device any more, empty if it may."""
        later = _OVERTAKEN_BY.get(command.arguments.kind)
        if later is not None and self._latest.get((later, device), command.issued) > command.issued:
            return f"overtaken by a {later} that was issued later"
        return ""

    def acts(self, command: Command, device: str) -> None:
        """A command acts on a device."""
        kind = command.arguments.kind
        if kind in _OVERTAKEN_BY.values():
            self._latest[kind, device] = max(command.issued, self._latest.get((kind, device), command.issued))
