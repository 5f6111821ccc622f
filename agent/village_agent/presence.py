"""Tells the collector that this agent is there, and which devices it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from village_agent.clock.timekeeper import Timekeeper
from village_agent.commands.addressing import Addressee
from village_agent.roster import Roster
from village_wire import __version__
from village_wire.address import SessionError
from village_wire.outgoing import Publication
from village_wire.presence import AgentStatus, InvalidMessage, Inventory, decode_message, encode_message
from village_wire.topics import AgentTopic

_log = logging.getLogger(__name__)

#: Saying goodbye must not delay the stop on a dead link.
_GOODBYE_SECONDS = 2.0
#: Devices of one driver often appear one after the other; one inventory tells them all.
_INVENTORY_SECONDS = 1.0
#: Two boxes with the same id drive each other out; neither must answer that without a pause.
_GREET_AGAIN_SECONDS = 0.5


class Presence:
    """Give `greet_again` and `tell_changes` to the program's `TaskGroup`. `publish` raises `SessionError` without a connection."""

    def __init__(
        self,
        session_id: str,
        config_version: str,
        addressee: Addressee,
        roster: Roster,
        timekeeper: Timekeeper,
        publish: Callable[[Publication], Awaitable[None]],
    ) -> None:
        self._session_id = session_id
        self._config_version = config_version
        self._addressee = addressee
        self._roster = roster
        self._timekeeper = timekeeper
        self._publish = publish
        self._started = timekeeper.now()
        self._connection = 0
        self._leaving = False
        self._will_seen = asyncio.Event()
        self._devices_changed = asyncio.Event()

    def next_will(self) -> Publication:
        """Return the last will of the connection that is about to be made."""
        # A will that arrives after the next connection's greeting must be known as an earlier one's.
        self._connection += 1
        return self._status(online=False)

    async def greet(self) -> None:
        """Tell a broker that has just accepted us; raises `SessionError`."""
        await self._publish(self._status(online=True))
        await self._publish(self._inventory())

    async def leave(self) -> None:
        """Say goodbye, if that is quickly done."""
        self._leaving = True
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._publish(self._status(online=False))
        except (TimeoutError, SessionError) as error:
            _log.debug("no goodbye: %s", error)

    def on_status(self, payload: bytes) -> None:
        """Take what the broker keeps as this agent's status."""
        with contextlib.suppress(InvalidMessage):
            if not decode_message(AgentStatus, payload).online and not self._leaving:
                self._will_seen.set()

    def devices_changed(self) -> None:
        """Devices came, went, or became others."""
        self._devices_changed.set()

    async def greet_again(self) -> None:
        """Whenever a broker took the will of an earlier connection for the last word, let it keep the present status again."""
        while True:
            await self._will_seen.wait()
            await asyncio.sleep(_GREET_AGAIN_SECONDS)
            self._will_seen.clear()
            # Without a connection the next one's greeting does it.
            with contextlib.suppress(SessionError):
                await self._publish(self._status(online=True))

    async def tell_changes(self, refresh: Callable[[], None]) -> None:
        """Publish the inventory whenever it changed, after `refresh`."""
        while True:
            await self._devices_changed.wait()
            await asyncio.sleep(_INVENTORY_SECONDS)
            self._devices_changed.clear()
            refresh()
            try:
                await self._publish(self._inventory())
            except SessionError as error:
                # The next connection announces it.
                _log.debug("inventory not published: %s", error)

    def _status(self, *, online: bool) -> Publication:
        status = AgentStatus(
            online=online,
            connection=max(1, self._connection),
            session=self._session_id,
            version=__version__,
            since=self._timekeeper.dated(self._started),
        )
        return self._kept("status", status)

    def _inventory(self) -> Publication:
        inventory = Inventory(
            agent=self._addressee.agent,
            area=self._addressee.area,
            config_version=self._config_version,
            devices=self._roster.inventory(),
        )
        return self._kept("inventory", inventory)

    def _kept(self, channel: Literal["status", "inventory"], message: AgentStatus | Inventory) -> Publication:
        return Publication(str(AgentTopic(self._addressee.agent, channel)), encode_message(message), retain=True)
