"""Noticing what another collector on the same control store has stored, for those who wait here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from village_collector.ports import StoreUnavailable
from village_collector.stores.control import ControlStore

_log = logging.getLogger(__name__)

#: Costs the database one look at the end of an index; a person who waits for a door notices nothing.
LOOK_SECONDS = 0.25


async def watch_arrivals(control: ControlStore, arrived: Callable[[], None]) -> None:
    """Call `arrived` whenever events were stored, by whichever collector, until cancelled."""
    newest: int | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            number = await asyncio.to_thread(control.newest_event)
        except StoreUnavailable as error:
            _log.debug("looking for results: %s", error)
            continue
        if newest is not None and number > newest:
            arrived()
        newest = number
