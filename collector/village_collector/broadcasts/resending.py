"""Sending broadcasts to agents that were away: they come back before its end and have said nothing of it.

Whichever of several collectors takes an agent on first sends it; the store decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from village_collector.broadcasts.service import BroadcastService
from village_collector.commands import NotSent
from village_collector.looking import keep_looking
from village_collector.stores.control import ControlStore

_log = logging.getLogger(__name__)

#: A look costs a query over the loudspeakers of broadcasts that are not over.
LOOK_SECONDS = 3.0
#: Agents of one look; a county that comes back at once is served in some rounds.
_AT_ONCE = 300
#: A collector that issues is done with sending by then, or has ended.
_SENDING = timedelta(seconds=60)
#: After a failure of the broker a withdrawal is tried again so soon.
_WITHDRAWING = timedelta(seconds=10)
ENDED_EARLY = "the collector ended while it was being sent; it may have reached some agents"


class Resender:
    """Give `run` to the program's `TaskGroup`."""

    def __init__(
        self,
        control: ControlStore,
        broadcasts: BroadcastService,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._control = control
        self._broadcasts = broadcasts
        self._now = now

    async def run(self, look_seconds: float = LOOK_SECONDS) -> None:
        """Look at intervals, until cancelled."""
        await keep_looking(self.look, look_seconds, _log, "broadcasts can't be sent again")

    async def look(self) -> None:
        """Tell of what was never sent, send withdrawals that are due, and send to agents that came back; raises `StoreUnavailable`."""
        now = self._now()
        for lost in await asyncio.to_thread(self._control.settle_unsent, now - _SENDING, ENDED_EARLY):
            _log.error("broadcast %s: %s; look at it and decide whether to issue it again", lost, ENDED_EARLY)
        for withdrawn in await asyncio.to_thread(self._control.unsent_withdrawals, now - _WITHDRAWING, now):
            try:
                await self._broadcasts.send_withdrawal(withdrawn)
            except NotSent as error:
                _log.debug("withdrawal of %s: %s", withdrawn, error)
        due = await asyncio.to_thread(self._control.due_agents, now, _AT_ONCE)
        for item in await asyncio.to_thread(self._control.claim_due, due, now):
            problem = await self._broadcasts.send_again(item.broadcast, item.agent, item.targets)
            if problem:
                _log.info("broadcast %s was not sent to %s again: %s", item.broadcast, item.agent, problem)
