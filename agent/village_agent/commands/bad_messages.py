"""Messages on a command topic that are no commands for anybody: counted, and told seldom."""

from __future__ import annotations

import logging
import time

from village_agent.report import Hub
from village_wire.events import Alarm

_log = logging.getLogger(__name__)

#: A stream of forged commands must not fill the outbox.
_ALARM_SECONDS = 600.0


class BadMessages:
    """Counts them by kind. The first of a kind is logged; an alarm tells all counts."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._counts: dict[str, int] = {}
        self._alarm_due = 0.0

    def count(self, kind: str, detail: str) -> None:
        """Count one; neither blocks nor raises."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] == 1:
            _log.warning(
                "a message on a command topic is ignored: %s %s; more of this kind are counted, not logged",
                kind,
                detail,
            )
        now = time.monotonic()
        if now >= self._alarm_due:
            self._alarm_due = now + _ALARM_SECONDS
            counts = ", ".join(f"{name}: {count}" for name, count in self._counts.items())
            self._hub.post(
                None, Alarm(code="bad_command", active=True, evidence=f"{kind} {detail}; so far {counts}"[:1000])
            )
