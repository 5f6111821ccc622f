"""Work that is looked for at intervals in a store that may be away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from village_collector.ports import StoreUnavailable


async def keep_looking(look: Callable[[], Awaitable[None]], seconds: float, log: logging.Logger, problem: str) -> None:
    """Call `look` every so many seconds, until cancelled; that the store is away, and that it is back, is told once each."""
    away = False
    while True:
        try:
            await look()
        except StoreUnavailable as error:
            if not away:
                log.warning("%s: %s", problem, error)
            away = True
        else:
            if away:
                log.info("%s: that is over, the store answers", problem)
            away = False
        await asyncio.sleep(seconds)
