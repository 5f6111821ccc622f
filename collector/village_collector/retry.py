"""Trying again until a store takes the data, and showing what is wrong meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

from village_collector.ports import Problem, StoreUnavailable
from village_wire.backoff import full_jitter

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Store = Literal["telemetry", "control"]

#: A store that restarts is back within this; agents send again anyway.
LONGEST_PAUSE = 30.0
#: A write takes a tenth of a second; one that takes so long makes readings late, and is told.
SLOW_SECONDS = 3.0


class StoreRetry:
    """Holds each store's problem. A failure is logged once, and its end."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._problems: dict[_Store, Problem] = {}

    def problems(self) -> Sequence[Problem]:
        """What is wrong now; may be called in any thread."""
        return tuple(self._problems.values())

    async def until_stored(self, store: _Store, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer of `work`, tried with full jitter as long as it raises `StoreUnavailable`."""
        attempt = 0
        while True:
            begin = time.monotonic()
            try:
                answer = await work()
            except StoreUnavailable as error:
                self._note(store, str(error), error.code, "down")
                pause = full_jitter(attempt, random.random(), cap=LONGEST_PAUSE)
                await asyncio.sleep(max(pause, min(error.retry_after, LONGEST_PAUSE)))
                attempt += 1
            else:
                took = time.monotonic() - begin
                if took > SLOW_SECONDS:
                    self._note(
                        store,
                        f"the {store} store is slow: it takes over {SLOW_SECONDS:.0f} s a write",
                        "store_slow",
                        "degraded",
                    )
                elif self._problems.pop(store, None) is not None:
                    _log.info("the %s store takes data again", store)
                return answer

    def _note(self, store: _Store, text: str, code: str, status: Literal["degraded", "down"]) -> None:
        known = self._problems.get(store)
        if known is None or known.text != text:
            _log.warning(
                "%s; %s", text, "nothing is acknowledged, trying again" if status == "down" else "readings come late"
            )
        since = known.since if known and known.status == status else self._now()
        self._problems[store] = Problem("store", since, text, code, status)

    async def until_stored_in_thread(self, store: _Store, work: Callable[[], _T]) -> _T:
        """The same for work that blocks."""
        return await self.until_stored(store, partial(asyncio.to_thread, work))
