"""Lends the wire's MQTT connections to drivers, as the port that they know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from village_drivers.kit import BrokerPort, BrokerSettings, Message, Misconfigured, NotConnected
from village_wire.address import BrokerAddress, NotAuthorised, SessionError, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.outgoing import Publication


class _Port:
    """A `BrokerPort` on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def subscribe(self, topic_filter: str) -> None:
        try:
            await self._connection.subscribe([Subscription(topic_filter)])
        except SessionError as error:
            raise _lost(error) from None

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        try:
            return await self._connection.publish(Publication(topic, payload, retain=retain))
        except SessionError as error:
            raise _lost(error) from None

    async def messages(self) -> AsyncIterator[Message]:
        try:
            async for message in self._connection.messages():
                yield Message(message.topic, message.payload, message.retained)
        except SessionError as error:
            raise _lost(error) from None


class AgentServices:
    """What the agent lends to the driver of one configured device; implements `kit.Services`."""

    def __init__(self, client_id: str, state_dir: Path) -> None:
        """`client_id` is how the driver appears at the site's broker: `<agent>-<device>`."""
        self._client_id = client_id
        self._state_dir = state_dir

    @property
    def state_dir(self) -> Path:
        """See `kit.Services`."""
        return self._state_dir

    @asynccontextmanager
    async def connect_broker(self, settings: BrokerSettings) -> AsyncIterator[BrokerPort]:
        """See `kit.Services`. The broker keeps no session for the driver."""
        address = BrokerAddress(settings.url, settings.username or None, settings.password or None)
        try:
            address.check()
        except ValueError as error:
            raise Misconfigured("misconfigured", f"{settings.url}: {error}") from None
        try:
            async with connect(SessionSettings(address, self._client_id)) as connection:
                yield _Port(connection)
        except NotAuthorised as error:
            raise Misconfigured("unauthorised", str(error)) from None
        except SessionError as error:
            raise _lost(error) from None


def _lost(error: SessionError) -> NotConnected:
    return NotConnected("broker_lost", str(error)[:500])
