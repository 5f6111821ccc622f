"""How much one agent may make the collector keep. A box in wrong hands, or one gone mad, must not fill the disk for all others.

What is over the allowance is neither stored nor acknowledged, so an honest agent keeps it and sends it again: it comes late, not never.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

#: More agents than any collector serves; topics can name any.
MAX_AGENTS = 100_000
_DAY_SECONDS = 86_400.0
_MB = 1_000_000

#: Inflated line protocol. A site with six devices sends 1.5 MB a day; what an agent's outbox kept over weeks may come at once.
READINGS = (1000 * _MB, 200 * _MB)
#: JSON. A busy door makes 1 MB a day.
EVENTS = (250 * _MB, 20 * _MB)
#: Each costs a transaction. A link that comes and goes all day makes two a minute.
STATUSES = (1000, 86_400)
#: Devices change when somebody changes them, or an MQTT site announces new ones.
INVENTORIES = (100, 1440)

#: Devices of one agent whose readings are taken in a day, twice an inventory: each is a series for every field, and a store holds its
#: series in memory.
MAX_NAMES = 1000
_NAMES = re.compile(rb",device=([^ \n]*) ")


class Variety:
    """How many devices each agent names. Costs a tenth of a microsecond a line. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` never jumps."""
        self._clock = clock
        self._names: dict[str, set[bytes]] = {}
        self._over: set[str] = set()
        self._begun = clock()

    def takes(self, agent: str, lines: bytes) -> bool:
        """Tell whether an agent may name the devices of these lines today."""
        if self._clock() - self._begun > _DAY_SECONDS or len(self._names) > MAX_AGENTS:
            self._begun = self._clock()
            self._names.clear()
            self._over.clear()
        known = self._names.setdefault(agent, set())
        new = set(_NAMES.findall(lines)) - known
        if not new:
            return True
        if len(known) + len(new) > MAX_NAMES:
            if agent not in self._over:
                self._over.add(agent)
                _log.warning(
                    "agent %s sends readings of over %d devices in a day: those of further ones wait there; see whether it is in wrong hands",
                    agent,
                    MAX_NAMES,
                )
            return False
        known |= new
        return True


class Allowance:
    """A token bucket for each agent. Not thread-safe."""

    def __init__(self, what: str, limits: tuple[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        """`limits` are what may come at once and what may come in a day, in the same unit; `clock` never jumps."""
        self._what = what
        self._most, per_day = limits
        self._per_second = per_day / _DAY_SECONDS
        self._clock = clock
        #: What is left, and when that was; agents that are not here have all.
        self._left: dict[str, tuple[float, float]] = {}
        self._over: set[str] = set()

    def take(self, agent: str, amount: int) -> bool:
        """Take so much of an agent's allowance; False, and nothing is taken, if that is more than it has left."""
        now = self._clock()
        left, at = self._left.get(agent, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_second)
        if left < amount:
            if agent not in self._over:
                self._over.add(agent)
                _log.warning(
                    "agent %s sends more %s than one agent may: what is over waits there; see whether it is in wrong hands",
                    agent,
                    self._what,
                )
            return False
        if agent in self._over and left > self._most / 2:
            self._over.discard(agent)
        if len(self._left) >= MAX_AGENTS and agent not in self._left:
            self._forget(now)
        self._left[agent] = (left - amount, now)
        return True

    def _forget(self, now: float) -> None:
        # Those that have all again need no entry; if that frees nothing, everybody begins anew.
        spent = {
            agent: (left, at)
            for agent, (left, at) in self._left.items()
            if left + (now - at) * self._per_second < self._most
        }
        self._left = spent if len(spent) < MAX_AGENTS else {}
