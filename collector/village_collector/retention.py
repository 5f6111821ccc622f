"""Forgetting old events and commands, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore

_log = logging.getLogger(__name__)

#: After a start there is more urgent work: what agents kept while the collector was away.
FIRST_SECONDS = 300.0
_DAY_SECONDS, _RETRY_SECONDS = 86_400.0, 3600.0
#: Between two slices, so that ingest always finds its turn.
_REST_SECONDS = 0.05


async def keep_events(
    control: ControlStore,
    days: int,
    first_seconds: float = FIRST_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Each day, forget events and commands that are older than `days`, until cancelled."""
    pause = first_seconds
    while True:
        await asyncio.sleep(pause)
        try:
            gone = await _forget(control, now() - timedelta(days=days))
        except StoreUnavailable as error:
            _log.warning("retention of events: %s; trying again in an hour", error)
            pause = _RETRY_SECONDS
        else:
            if gone:
                _log.info("forgot %d events that were older than %d days", gone, days)
            pause = _DAY_SECONDS


async def _forget(control: ControlStore, before: datetime) -> int:
    total = 0
    while True:
        gone, more = await asyncio.to_thread(control.purge_slice, before)
        total += gone
        if not more:
            return total
        await asyncio.sleep(_REST_SECONDS)
