"""A command runtime without a broker, with its clock in the hands of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.agent.collector import KEY
from tests.agent.kit import AREA, Site, running, site
from village_agent.commands.addressing import Addressee
from village_agent.commands.runtime import CommandRuntime
from village_agent.identity.keyring import Keys, PinnedKey
from village_agent.loudspeaker.cache import Source
from village_agent.loudspeaker.settings import LoudspeakersTable
from village_agent.loudspeaker.stations import Stations
from village_agent.roster import Unit
from village_wire.broadcasts import Audio
from village_wire.commands import Arguments, Broadcast, Command, Target, sign_command
from village_wire.events import CommandResult, Event, Receipt
from village_wire.incoming import Received

NOWHERE, TABLE = Source(None), LoudspeakersTable()
TOPIC = "village/1/agent/box/command"


class Clock:
    """The agent's clock, in the hands of the test: known, and told by the system."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 10, tzinfo=UTC)
        self.known = asyncio.Event()
        self.known.set()
        self.signed = False
        #: How often the collector was asked for the time.
        self.asked = 0


class _Clock:
    """What the runtime sees of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    @property
    def known(self) -> asyncio.Event:
        return self._clock.known

    @property
    def signed(self) -> bool:
        return self._clock.signed

    def now(self) -> datetime:
        return self._clock.now

    def now_ns(self) -> int:
        return int(self._clock.now.timestamp() * 1e9)

    def connected(self) -> None:
        self._clock.asked += 1

    def sharpen(self, seconds: float) -> None:
        pass


class Desk:
    """A command runtime and what came of it."""

    def __init__(self, parts: Site, commands: CommandRuntime, clock: Clock) -> None:
        self.parts = parts
        self.commands = commands
        self.clock = clock

    def command(self, arguments: Arguments, target: Target | None = None, lifetime: float = 60) -> Command:
        now = self.clock.now
        wanted = target or Target(agent="box")
        expires = now + timedelta(seconds=lifetime)
        return Command(id=uuid4(), target=wanted, arguments=arguments, issuer="wang", issued=now, expires=expires)

    def text(self, text: str) -> Broadcast:
        """A broadcast that counts for a minute."""
        return Broadcast(rank="notice", text=text, end=self.clock.now + timedelta(seconds=60))

    def audio(self, audio: Audio) -> Broadcast:
        """As `text`."""
        return Broadcast(rank="notice", audio=audio, end=self.clock.now + timedelta(seconds=60))

    def send(self, command: Command, *, retained: bool = False, key: Ed25519PrivateKey = KEY) -> None:
        self.commands.on_message(Received(TOPIC, sign_command(command, key), retained))

    async def results(self, command: UUID, count: int) -> list[tuple[str | None, str, str]]:
        """Wait for `count` results of a command."""
        found = await self.parts.until("command_result", lambda events: len(results_of(events, command)) >= count)
        return [(event.device, data.outcome, data.reason) for event, data in results_of(found, command)]

    async def receipts(self) -> list[tuple[str | None, str, str]]:
        return [
            (event.device, event.data.stage, event.data.reason)
            for event in await self.parts.events()
            if isinstance(event.data, Receipt)
        ]


def results_of(events: list[Event], command: UUID) -> list[tuple[Event, CommandResult]]:
    return [
        (event, event.data)
        for event in events
        if isinstance(event.data, CommandResult) and event.data.command == command
    ]


@asynccontextmanager
async def desk(
    folder: Path,
    *units: Unit,
    clock: Clock | None = None,
    keys: Keys | None = None,
    source: Source = NOWHERE,
    table: LoudspeakersTable = TABLE,
) -> AsyncIterator[Desk]:
    used = clock or Clock()
    async with site(folder, *units) as parts:
        addressee = Addressee("box", AREA, keys or PinnedKey(KEY.public_key()))
        path = folder / "commands.db"
        wall = _Clock(used)
        loudspeakers = Stations(table, folder, parts.disk, parts.roster, parts.hub, wall, source)
        commands = CommandRuntime(
            addressee, path, parts.disk, parts.outbox, parts.roster, parts.hub, wall, loudspeakers
        )
        try:
            async with running(loudspeakers.run()), running(commands.run()):
                yield Desk(parts, commands, used)
        finally:
            await loudspeakers.close()
            await commands.close()
