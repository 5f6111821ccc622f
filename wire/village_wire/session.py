"""Keeps an MQTT connection alive: reconnects with full jitter, subscribes again and announces itself."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from village_wire.address import NotAuthorised, SessionError, SessionSettings, Subscription
from village_wire.backoff import full_jitter
from village_wire.connection import Connection, connect
from village_wire.incoming import Received
from village_wire.outgoing import Publication
from village_wire.traffic import Traffic

_log = logging.getLogger(__name__)


class Session:
    """Keeps a connection alive. Give it to the program's `TaskGroup` by `run`."""

    def __init__(
        self, settings: SessionSettings, subscriptions: Sequence[Subscription], on_message: Callable[[Received], None]
    ) -> None:
        """`on_message` must neither block nor raise."""
        self._settings = settings
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._connection: Connection | None = None
        self._changed = asyncio.Condition()
        self._replaced = asyncio.Event()
        self._attempt = 0
        self.last_problem = ""
        #: Monotonic time at which the present connection was accepted, before its subscriptions; None without one.
        self.connected_at: float | None = None
        #: Of all connections so far.
        self.traffic = Traffic(secure=settings.address.secure)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._connection is not None

    async def wait_connected(self) -> None:
        """Return as soon as messages can be sent."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.connected)

    async def publish(self, message: Publication) -> None:
        """Send a message; raises `SessionError` at once when there is no connection."""
        if self._connection is None:
            raise SessionError("not connected to the broker")
        await self._connection.publish(message)

    async def send(self, messages: Sequence[Publication]) -> None:
        """Send messages whose loss is no harm, see `Connection.send`; raises `SessionError` at once when there is no connection."""
        if self._connection is None:
            raise SessionError("not connected to the broker")
        await self._connection.send(messages)

    def replace(self, settings: SessionSettings, subscriptions: Sequence[Subscription]) -> None:
        """Use these from now on: the present connection ends with a goodbye, and the next one is tried at once."""
        self._settings = settings
        self._subscriptions = subscriptions
        self._replaced.set()

    async def run(self, on_connected: Callable[[], Awaitable[None]]) -> None:
        """Connect, again and again, until cancelled. `on_connected` runs after each connection, subscriptions made.

        A connection at which it fails ends: whoever can't be announced, because the broker does not know its rights yet, tries again.
        """
        self._attempt = 0
        while True:
            fatal = replaced = False
            self._replaced.clear()
            try:
                async with connect(self._settings, self.traffic) as connection:
                    self.connected_at = time.monotonic()
                    await connection.subscribe(self._subscriptions)
                    await self._set(connection)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._announce(on_connected), name="announce")
                        group.create_task(self._until_replaced(), name="replacement")
                        await connection.deliver(self._on_message)
            except* SessionError as errors:
                problem = errors.exceptions[0]
                while isinstance(problem, BaseExceptionGroup):
                    problem = problem.exceptions[0]
                replaced = isinstance(problem, _Replaced)
                if replaced:
                    _log.info("%s", problem)
                elif str(problem) != self.last_problem:
                    _log.warning("%s; trying again", problem)
                self.last_problem = "" if replaced else str(problem)
                fatal = isinstance(problem, NotAuthorised)
            finally:
                self.connected_at = None
                await self._set(None)
            if replaced:
                self._attempt = 0
                continue
            try:
                async with asyncio.timeout(full_jitter(self._attempt, random.random(), cap=60.0, at_cap=fatal)):
                    await self._replaced.wait()
            except TimeoutError:
                self._attempt += 1

    async def _announce(self, on_connected: Callable[[], Awaitable[None]]) -> None:
        await on_connected()
        if self.last_problem:
            _log.info("connected to %s again", self._settings.address.url)
        self.last_problem, self._attempt = "", 0

    async def _until_replaced(self) -> None:
        await self._replaced.wait()
        raise _Replaced(f"connecting to {self._settings.address.url} anew")

    async def _set(self, connection: Connection | None) -> None:
        self._connection = connection
        async with self._changed:
            self._changed.notify_all()


class _Replaced(SessionError):
    """The connection ends because the next one has other settings."""
