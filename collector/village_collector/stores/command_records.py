"""Commands and their results in the control store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    and_,
    delete,
    insert,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from village_collector.stores.control_reads import Scope, in_scope
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.receivers import receivers_of
from village_collector.stores.tables import agents, command_results, commands, devices
from village_wire.areas import prefix

#: A command to a whole county has ten thousand answers.
_PURGED_AT_ONCE = 20


class Receiver(NamedTuple):
    """A device that is to carry a command out."""

    agent: str
    device: str


class Progress(NamedTuple):
    """How far a command is: numbers of its expected devices. `revision` grows with every change of a result."""

    expires: datetime
    expected: int
    answered: int
    final: int
    revision: int


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command as issued, without secrets. `sent` is None until the broker's answer is known."""

    id: str
    issued: datetime
    expires: datetime
    issuer: str
    target: Mapping[str, Any]
    arguments: Mapping[str, Any]
    sent: bool | None
    problem: str
    progress: Progress


class ResultRecord(NamedTuple):
    """The latest answer of one device (`""`: its agent)."""

    agent: str
    device: str
    outcome: str
    reason: str
    result: dict[str, Any]
    time: datetime


class CommandRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receivers(
        self,
        abilities: Sequence[str],
        *,
        area: str | None = None,
        agent: str | None = None,
        device: str | None = None,
        tags: Sequence[str] = (),
    ) -> list[Receiver]:
        """Devices of the inventories that have one of some abilities, by agent and device, in an area or of an agent; `tags` narrow."""
        query = receivers_of(abilities, area, agent, device, devices.c.agent, devices.c.device, tags=tags)
        with self._database.read() as connection:
            return [
                Receiver._make(row) for row in connection.execute(query.order_by(devices.c.agent, devices.c.device))
            ]

    def areas_with(self, abilities: Sequence[str], tags: Sequence[str], scope: Scope = None) -> list[str]:
        """The areas within a scope in which a device has one of some abilities and carries one of some tags."""
        query = receivers_of(abilities, None, None, None, agents.c.area, tags=tags)
        query = query.join(agents, agents.c.agent == devices.c.agent).where(agents.c.area != "").distinct()
        if scope is not None:
            query = query.where(in_scope(agents.c.area, scope))
        with self._database.read() as connection:
            return list(connection.scalars(query.order_by(agents.c.area)))

    def has_agent(self, agent: str) -> bool:
        """Whether anything was ever heard of this agent."""
        with self._database.read() as connection:
            return connection.scalar(select(agents.c.agent).where(agents.c.agent == agent)) is not None

    def has_device(self, agent: str, device: str) -> bool:
        """Whether the device is in its agent's inventory."""
        query = select(devices.c.device).where(
            devices.c.agent == agent, devices.c.device == device, devices.c.removed.is_(None)
        )
        with self._database.read() as connection:
            return connection.scalar(query) is not None

    def has_agents_in(self, area: str) -> bool:
        """Whether any agent is in this area or below it."""
        with self._database.read() as connection:
            return (
                connection.scalar(select(agents.c.agent).where(agents.c.area.startswith(prefix(area))).limit(1))
                is not None
            )

    def add_command(
        self,
        command: str,
        issued: datetime,
        expires: datetime,
        issuer: str,
        target: Mapping[str, Any],
        arguments: Mapping[str, Any],
        abilities: Sequence[str],
        *,
        area: str | None = None,
        agent: str | None = None,
        device: str | None = None,
        tags: Sequence[str] = (),
    ) -> int:
        """Keep a new command with the devices that are to answer, those of `receivers` with one of some tags; return their number.

        `arguments` must hold no secret. With no such device nothing is stored. They are found and written inside the database:
        for a county of 10,000 agents everyone waits for this before the first loudspeaker sounds.
        """
        row = {
            "id": command,
            "issued": issued,
            "expires": expires,
            "issuer": issuer,
            "target": dict(target),
            "arguments": dict(arguments),
        }
        places = receivers_of(
            abilities,
            area,
            agent,
            device,
            literal(command),
            devices.c.agent,
            devices.c.device,
            literal(True),
            tags=tags,
        )
        copy = insert(command_results).from_select(["command", "agent", "device", "expected"], places)
        # Without the option psycopg is not asked for the number.
        copy = copy.execution_options(preserve_rowcount=True)

        def work(connection: Connection) -> int:
            count = connection.execute(copy).rowcount
            if count:
                connection.execute(insert(commands).values(**row, expected=count))
            return count

        return self._database.write(work)

    def mark_sent(self, command: str, sent: bool, problem: str = "") -> None:
        """Keep whether the broker took the command."""
        statement = update(commands).where(commands.c.id == command).values(sent=sent, problem=problem)
        self._database.write(lambda connection: connection.execute(statement))

    def command_progress(self, command: str) -> Progress | None:
        """How far a command is, at a cost that does not grow with its receivers; None for an unknown one."""
        with self._database.read() as connection:
            row = connection.execute(select(*_PROGRESS).where(commands.c.id == command)).one_or_none()
        return None if row is None else Progress._make(row)

    def command(
        self, command: str, scope: Scope = None
    ) -> tuple[CommandRecord, list[Receiver], list[ResultRecord]] | None:
        """A command with its expected devices and their latest answers, both by agent and device.

        None for an unknown one, and for one whose target does not lie in the scope.
        """
        mine = select(commands).where(commands.c.id == command)
        if scope is not None:
            mine = mine.where(_targets_in(scope))
        query = (
            select(command_results)
            .where(command_results.c.command == command)
            .order_by(command_results.c.agent, command_results.c.device)
        )
        with self._database.read() as connection:
            row = connection.execute(mine).one_or_none()
            if row is None:
                return None
            found = connection.execute(query).all()
        expected = [Receiver(result.agent, result.device) for result in found if result.expected]
        results = [
            ResultRecord(
                result.agent, result.device, result.outcome, result.reason or "", result.result or {}, result.time
            )
            for result in found
            if result.outcome is not None
        ]
        return record_of(row), expected, results

    def recent_commands(self, limit: int, scope: Scope = None) -> list[CommandRecord]:
        """The newest commands whose targets lie in a scope, newest first."""
        query = select(commands).order_by(commands.c.issued.desc(), commands.c.id.desc()).limit(limit)
        if scope is not None:
            query = query.where(_targets_in(scope))
        with self._database.read() as connection:
            return [record_of(row) for row in connection.execute(query)]

    def _purge_commands(self, connection: Connection, before: datetime) -> bool:
        # Answers whether there may be more.
        query = select(commands.c.id).where(commands.c.expires < before).limit(_PURGED_AT_ONCE)
        old = connection.scalars(query).all()
        for part in chunks(old):
            connection.execute(delete(command_results).where(command_results.c.command.in_(part)))
            connection.execute(delete(commands).where(commands.c.id.in_(part)))
        return len(old) >= _PURGED_AT_ONCE


def _targets_in(scope: tuple[str, ...]) -> ColumnElement[bool]:
    # The target stands there as compact JSON with one key first.
    target = type_coerce(commands.c.target, Text)
    areas = (target.startswith(f'{{"area":"{prefix(area)}') for area in scope)
    receivers = (
        select(command_results.c.agent)
        .join(agents, agents.c.agent == command_results.c.agent)
        .where(command_results.c.command == commands.c.id, in_scope(agents.c.area, scope))
    )
    return or_(*areas, and_(target.startswith('{"agent":"'), receivers.exists()))


_PROGRESS = (commands.c.expires, commands.c.expected, commands.c.answered, commands.c.final, commands.c.revision)


def record_of(row: Row[Any]) -> CommandRecord:
    """Return a row of the table as a record."""
    return CommandRecord(
        row.id,
        row.issued,
        row.expires,
        row.issuer,
        row.target,
        row.arguments,
        row.sent,
        row.problem,
        Progress(row.expires, row.expected, row.answered, row.final, row.revision),
    )
