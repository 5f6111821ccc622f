"""How often somebody may ask for a certificate. Pure: the time is an argument, in seconds of a clock that never jumps.

A token holds 128 bits, so nobody guesses one; the limits are for the collector's processor and audit log.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from village_collector.people.throttle import place_of

WINDOW_SECONDS = 60.0
#: A person who copies a token by hand errs a few times; then the address waits out the minute.
MAX_WRONG = 10
#: Requests of all, good and bad, in one minute: a signature and a transaction take some 10 ms, so a twentieth of one processor.
MAX_REQUESTS = 300
#: Addresses that are remembered; the oldest makes room.
MAX_ADDRESSES = 10_000


class Attempts:
    """Counts wrong requests by address, and all together."""

    def __init__(self) -> None:
        self._all: deque[float] = deque(maxlen=MAX_REQUESTS)
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Count a request; return 0.0, or the seconds until the next one may come, and then it does not count."""
        wrong = self._wrong.get(place_of(address))
        full = [times for times in (self._all, wrong) if times is not None and len(times) == times.maxlen]
        seconds = max((times[0] + WINDOW_SECONDS - now for times in full), default=0.0)
        if seconds > 0:
            return seconds
        self._all.append(now)
        return 0.0

    def wrong(self, address: str, now: float) -> None:
        """The request of this address was not good."""
        place = place_of(address)
        self._wrong.setdefault(place, deque(maxlen=MAX_WRONG)).append(now)
        self._wrong.move_to_end(place)
        while len(self._wrong) > MAX_ADDRESSES:
            self._wrong.popitem(last=False)
