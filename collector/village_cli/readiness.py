"""Waiting until loudspeakers can be spoken through, but not for those that can't be."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from village_cli.broadcast_watch import SCHEMA, Row, View, broadcast_id
from village_cli.text import word
from village_wire.language import Language

if TYPE_CHECKING:
    from village_cli.client import Client

#: A key that is pressed is noticed so soon.
HOLD_SECONDS = 0.5
#: Named one by one; who speaks can't read more while others wait.
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Readiness:
    """Expected loudspeakers: which listen, which may yet, and which are known not to (offline, failed, their amplifier off)."""

    ready: tuple[Row, ...]
    coming: tuple[Row, ...]
    others: tuple[Row, ...]

    @classmethod
    def of(cls, view: View) -> Readiness:
        """Read it from a broadcast."""
        ready, coming, others = [], [], []
        for row in view.loudspeakers():
            if row.standing == "sounding" or (row.stage == "ready" and row.standing == "waiting" and not row.reason):
                ready.append(row)
            elif row.standing == "waiting" and row.stage != "ready" and not view.final:
                coming.append(row)
            else:
                others.append(row)
        return cls(tuple(ready), tuple(coming), tuple(others))

    def line(self, language: Language) -> str:
        """Return `7 of 8 ready; not ready: lin/hall (the box is not connected)`."""
        missing = (*self.others, *self.coming)
        numbers = {"ready": len(self.ready), "expected": len(self.ready) + len(missing)}
        if not missing:
            return word("live_all_ready", language).format(**numbers)
        named = [f"{row.device} ({row.why(language) or row.state(language)})" for row in missing[:MAX_NAMED]]
        if len(missing) > MAX_NAMED:
            named.append(word("live_more", language).format(number=len(missing) - MAX_NAMED))
        return word("live_not_ready", language).format(**numbers, missing=", ".join(named))


def enter_pressed() -> bool:
    """Tell whether Enter was pressed since the last call. Only for a terminal."""
    if not select.select([sys.stdin], [], [], 0)[0]:
        return False
    sys.stdin.readline()
    return True


def wait_until_ready(client: Client, identity: str, seconds: float, hurried: Callable[[], bool]) -> Readiness:
    """Wait for all that may be ready, for so long at most, or until somebody is `hurried`; tell how it stands then.

    Raises `Failure` as `Client.get` if the collector says nothing about it at all.
    """
    from village_cli.client import Problem, Unreachable

    deadline = time.monotonic() + seconds
    place = f"/broadcasts/{broadcast_id(identity)}"
    view = View(client.get(place, SCHEMA).document)
    while True:
        found = Readiness.of(view)
        asked = time.monotonic()
        if not found.coming or asked >= deadline or hurried():
            return found
        hold = min(HOLD_SECONDS, deadline - asked)
        try:
            view = View(client.get(place, SCHEMA, wait=hold, seen=view.revision).document)
        except (Problem, Unreachable) as failure:
            # The voice itself may go through all the same.
            if failure.status not in {None, 503}:
                raise
        if Readiness.of(view) == found:
            time.sleep(max(0.0, hold - (time.monotonic() - asked)))
