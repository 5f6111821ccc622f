"""How much one agent may make the collector keep. A box in wrong hands, or one gone mad, must not fill the disk for all others.

What is over the allowance is neither stored nor acknowledged, so an honest agent keeps it and sends it again: it comes late, not never.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter

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
#: Beginnings of one agent's lines that are remembered, some 100 bytes each; lines with others cost more. A device mostly has one kind.
MAX_HEADS = 2 * MAX_NAMES
_head_of = itemgetter(0)


@dataclass(slots=True)
class _Known:
    """What one agent was let name: devices, and beginnings of lines up to the first space, `<kind>,agent=…,device=…`."""

    names: set[bytes] = field(default_factory=set)
    heads: set[bytes] = field(default_factory=set)


class Variety:
    """How many devices each agent names. Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` never jumps."""
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._over: set[str] = set()
        self._begun = clock()

    def knows(self, agent: str, lines: bytes) -> bool:
        """Tell whether all lines begin as lines of the agent that `takes` let pass today, and name no second agent.

        `check_batch` and `takes` would let such lines pass, and cost twice as much. False says nothing. No line end at the end.
        """
        self._begin_day()
        known = self._known.get(agent)
        if known is None:
            return False
        parts = lines.split(b"\n")
        if not known.heads.issuperset(map(_head_of, map(bytes.partition, parts, repeat(b" ")))):
            return False
        # Each head has one `,agent=`; a second one further on in a line would be one `agent=` too many.
        return lines.count(b"agent=") == len(parts)

    def takes(self, agent: str, lines: bytes) -> bool:
        """Tell whether an agent may name the devices of these lines today. `check_batch` must have let them pass."""
        self._begin_day()
        known = self._known.setdefault(agent, _Known())
        # What has no space is no line for any store, and its name is not counted: it must not make a later line known.
        heads = {head for head, space, _ in map(bytes.partition, lines.split(b"\n"), repeat(b" ")) if space}
        new = {head.partition(b",device=")[2] for head in heads} - known.names
        if len(known.names) + len(new) > MAX_NAMES:
            if agent not in self._over:
                self._over.add(agent)
                _log.warning(
                    "agent %s sends readings of over %d devices in a day: those of further ones wait there; see whether it is in wrong hands",
                    agent,
                    MAX_NAMES,
                )
            return False
        known.names |= new
        heads -= known.heads
        if len(known.heads) + len(heads) <= MAX_HEADS:
            known.heads |= heads
        return True

    def _begin_day(self) -> None:
        if self._clock() - self._begun > _DAY_SECONDS or len(self._known) > MAX_AGENTS:
            self._begun = self._clock()
            self._known.clear()
            self._over.clear()


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
