"""Trying again until a store takes the data, and showing what is wrong meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
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
            try:
                answer = await work()
            except StoreUnavailable as error:
                known = self._problems.get(store)
                if known is None or known.text != str(error):
                    _log.warning("%s; nothing is acknowledged, trying again", error)
                self._problems[store] = Problem("store", known.since if known else self._now(), str(error))
                await asyncio.sleep(full_jitter(attempt, random.random(), cap=LONGEST_PAUSE))
                attempt += 1
            else:
                if self._problems.pop(store, None) is not None:
                    _log.info("the %s store takes data again", store)
                return answer

    async def until_stored_in_thread(self, store: _Store, work: Callable[[], _T]) -> _T:
        """The same for work that blocks."""
        return await self.until_stored(store, partial(asyncio.to_thread, work))
