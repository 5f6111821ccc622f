"""How often somebody may guess. Pure: the time is an argument, in seconds of a clock that never jumps.

Three counts, because each alone can be got round or abused: of a person at one address, of an address whatever the person, and of a
person whatever the address. The last one refuses nobody; it only leaves each address fewer guesses, so that no attacker elsewhere can
keep a person out. In memory: a restart forgets, and several collectors count each for itself.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

#: A person who mistypes, and tries a password of old, needs no more.
FREE_TRIES = 5
#: While a person is guessed at from many addresses. The first try of an address is never refused for what others did.
FREE_TRIES_UNDER_ATTACK = 1
#: Failures of a person within `FORGET_SECONDS`, wherever, that no honest person makes.
ATTACK = 20
#: An office behind one address has several people who mistype.
FREE_TRIES_OF_ADDRESS = 20
#: The first wait; each further failure doubles it.
FIRST_WAIT = 30.0
#: At most some hundred guesses a day, and an honest person is back after a cup of tea.
LONGEST_WAIT = 900.0
#: So long after the last failure a count begins anew.
FORGET_SECONDS = 3600.0
#: Each takes 200 bytes. An address makes few before it is refused, so that to push others out takes hundreds of addresses.
MAX_COUNTS = 20_000

Reason = Literal["person", "address"]


@dataclass(frozen=True, slots=True)
class Wait:
    """A try that is refused: why, and the seconds until the next one may come."""

    reason: Reason
    seconds: float


#: A person at an address; a person, with None; an address, with None for the person.
_Key = tuple[str | None, str | None]


@dataclass(slots=True)
class _Count:
    failures: int = 0
    last: float = 0.0

    def wait(self, free: int, now: float) -> float:
        if self.failures < free:
            return 0.0
        # 2 ** 10 is beyond the longest wait.
        pause = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(10, self.failures - free))
        return max(0.0, self.last + pause - now)


class Throttle:
    """Counts failed tries. A try counts as failed until `succeeded` says otherwise, so that many at once are no way round."""

    def __init__(self, limit: int = MAX_COUNTS) -> None:
        """`limit` is the number of counts that are kept; the one that failed longest ago makes room."""
        self._limit = limit
        self._counts: OrderedDict[_Key, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def attempt(self, person: str, address: str, now: float) -> Wait | None:
        """Count a try, or return how long to wait; a refused one does not count."""
        place = place_of(address)
        attacked = self._known((person, None), now).failures >= ATTACK
        free = FREE_TRIES_UNDER_ATTACK if attacked else FREE_TRIES
        seconds = self._known((person, place), now).wait(free, now)
        if seconds > 0:
            return Wait("person", seconds)
        seconds = self._known((None, place), now).wait(FREE_TRIES_OF_ADDRESS, now)
        if seconds > 0:
            return Wait("address", seconds)
        for key in ((person, place), (None, place), (person, None)):
            count = self._known(key, now)
            count.failures += 1
            count.last = now
            self._counts[key] = count
            self._counts.move_to_end(key)
        while len(self._counts) > self._limit:
            self._counts.popitem(last=False)
        return None

    def succeeded(self, person: str, address: str) -> None:
        """Take the last try back, and all others of this person at this address: they were honest mistakes."""
        place = place_of(address)
        own = self._counts.pop((person, place), None)
        for key in ((None, place), (person, None)):
            count = self._counts.get(key)
            if own is not None and count is not None:
                count.failures = max(0, count.failures - own.failures)

    def _known(self, key: _Key, now: float) -> _Count:
        count = self._counts.get(key)
        return count if count is not None and now - count.last < FORGET_SECONDS else _Count()


def place_of(address: str) -> str:
    """Return what counts as one address: an IPv6 network of 64 bits is one customer's."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address or "?"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
