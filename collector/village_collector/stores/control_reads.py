"""What the API reads of agents, devices, events and refused messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, false, func, or_, select

from village_collector.health_model import AgentRecord, DeviceRecord, Lost
from village_collector.ports import DeadLetter
from village_collector.stores.database import Database
from village_collector.stores.tables import agents, dead_letters, devices, events, ledger, link_losses, states
from village_wire.areas import prefix

#: Areas of which is told, with all below them; None is everywhere. An agent of no area yet is seen from everywhere only.
Scope = tuple[str, ...] | None


class UnknownEvent(LookupError):
    """No such event: it never came, or was purged."""


class Details(NamedTuple):
    """What an inventory says of a device beyond its health."""

    abilities: tuple[str, ...]
    firmware: str
    tags: tuple[str, ...] = ()


class AgentSummary(NamedTuple):
    """One agent as it stands in the list of agents. `devices` counts its inventory."""

    agent: str
    area: str
    online: bool | None
    session: str | None
    version: str | None
    since: datetime | None
    last_seen: datetime | None
    devices: int


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None does not limit. `since` and `until` are about the event's own time, until exclusive.

    `own` wants those of the agents themselves, not of devices. `scope` is about the area in which the agent was at that time.
    """

    area: str | None = None
    agent: str | None = None
    device: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    own: bool = False
    scope: Scope = None


class EventRecord(NamedTuple):
    """One stored event."""

    id: str
    time: datetime
    received: datetime
    agent: str
    area: str
    device: str | None
    kind: str
    data: dict[str, Any]


class EventPage(NamedTuple):
    """Some events, and the id after which one goes on to follow: the newest of all, wherever; None while there is no event at all."""

    events: Sequence[EventRecord]
    cursor: str | None


class ControlReads:
    """Queries; each sees one state of the database. All raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def health_records(
        self, area: str | None = None, agent: str | None = None, scope: Scope = None
    ) -> tuple[list[AgentRecord], list[DeviceRecord]]:
        """Agents in an area (or one agent) with their devices that are in the inventory, for `village_collector.health`."""
        condition = (states.c.agent == agents.c.agent) & (states.c.session == agents.c.session)
        agent_query = select(*AGENT_COLUMNS, *STATE_COLUMNS).outerjoin(states, condition & (states.c.device == ""))
        device_query = (
            select(devices.c.agent, devices.c.device, devices.c.name, devices.c.driver, devices.c.kind, *STATE_COLUMNS)
            .join(agents, agents.c.agent == devices.c.agent)
            .outerjoin(states, and_(condition, states.c.device == devices.c.device))
            .where(devices.c.removed.is_(None))
        )
        with self._database.read() as connection:
            found = connection.execute(_within(agent_query, area, agent, scope)).all()
            found_devices = connection.execute(_within(device_query, area, agent, scope)).all()
            losses = connection.execute(_within(_LINK_LOSSES, area, agent, scope)).all()
            entries = connection.execute(_within(_LEDGER, area, agent, scope)).all()
        lost_links: defaultdict[str, list[datetime]] = defaultdict(list)
        for row in losses:
            lost_links[row.agent].append(row.received)
        lost_data: defaultdict[str, list[Lost]] = defaultdict(list)
        for name, *entry in entries:
            lost_data[name].append(Lost(*entry))
        records = [
            AgentRecord._make((*row, lost_links.get(row.agent, ()), lost_data.get(row.agent, ()))) for row in found
        ]
        return records, [DeviceRecord._make(row) for row in found_devices]

    def details(
        self, area: str | None = None, agent: str | None = None, scope: Scope = None
    ) -> dict[tuple[str, str], Details]:
        """Abilities, firmware and tags by (agent, device)."""
        columns = (devices.c.agent, devices.c.device, devices.c.abilities, devices.c.firmware, devices.c.tags)
        query = select(*columns).join(agents, agents.c.agent == devices.c.agent)
        with self._database.read() as connection:
            rows = connection.execute(_within(query.where(devices.c.removed.is_(None)), area, agent, scope)).all()
        return {
            (row.agent, row.device): Details(tuple(row.abilities.split()), row.firmware, tuple(row.tags.split()))
            for row in rows
        }

    def agent_area(self, agent: str) -> str | None:
        """The area of an agent, "" while it has told none; None if nothing was ever heard of it."""
        with self._database.read() as connection:
            return connection.scalar(select(agents.c.area).where(agents.c.agent == agent))

    def agent_summaries(self, scope: Scope = None) -> list[AgentSummary]:
        """All agents by area and id."""
        counts = (
            select(devices.c.agent, func.count().label("number"))
            .where(devices.c.removed.is_(None))
            .group_by(devices.c.agent)
            .subquery()
        )
        query = (
            select(
                agents.c.agent,
                agents.c.area,
                agents.c.online,
                agents.c.session,
                agents.c.version,
                agents.c.status_received,
                agents.c.last_seen,
                func.coalesce(counts.c.number, 0),
            )
            .outerjoin(counts, counts.c.agent == agents.c.agent)
            .order_by(agents.c.area, agents.c.agent)
        )
        with self._database.read() as connection:
            return [AgentSummary._make(row) for row in connection.execute(_within(query, scope=scope))]

    def events(self, wanted: EventFilter, limit: int) -> EventPage:
        """The newest events by their own time, newest first."""
        query = _filtered(wanted).order_by(events.c.time.desc(), events.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            cursor = connection.scalar(select(events.c.id).order_by(events.c.number.desc()).limit(1))
        return EventPage([_event(row) for row in rows], cursor)

    def events_after(self, event_id: str, wanted: EventFilter, limit: int) -> EventPage:
        """Events that were received after that one, in the order of receipt; raises `UnknownEvent`."""
        with self._database.read() as connection:
            number = connection.scalar(select(events.c.number).where(events.c.id == event_id))
            if number is None:
                raise UnknownEvent(event_id)
            query = _filtered(wanted).where(events.c.number > number).order_by(events.c.number).limit(limit)
            rows = connection.execute(query).all()
            cursor = connection.scalar(select(events.c.id).order_by(events.c.number.desc()).limit(1))
        # A full page may have more behind it; from a page that is not full one goes on after the newest event of all.
        return EventPage([_event(row) for row in rows], rows[-1].id if len(rows) == limit else cursor)

    def newest_event(self) -> int:
        """Number of the event that was received last, 0 without any: it grows when a collector stores events."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(events.c.number))) or 0

    def dead_letters(self, limit: int, scope: Scope = None) -> list[DeadLetter]:
        """The newest refused messages, newest first. Those of unknown agents are told everywhere only."""
        columns = (
            dead_letters.c.agent,
            dead_letters.c.topic,
            dead_letters.c.received,
            dead_letters.c.reason,
            dead_letters.c.content,
        )
        query = select(*columns).order_by(dead_letters.c.number.desc()).limit(limit)
        if scope is not None:
            query = query.join(agents, agents.c.agent == dead_letters.c.agent).where(in_scope(agents.c.area, scope))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [DeadLetter(*row) for row in rows]


#: Of an `AgentRecord` and its state, in its order.
AGENT_COLUMNS = (
    agents.c.agent,
    agents.c.area,
    agents.c.online,
    agents.c.session,
    agents.c.version,
    agents.c.status_received,
    agents.c.last_seen,
)
_LINK_LOSSES = select(link_losses.c.agent, link_losses.c.received).join(agents, agents.c.agent == link_losses.c.agent)
_LEDGER = (
    select(
        ledger.c.agent,
        ledger.c.item_class,
        ledger.c.reason,
        ledger.c.count,
        ledger.c.first,
        ledger.c.last,
        ledger.c.received,
    )
    .join(agents, agents.c.agent == ledger.c.agent)
    .order_by(ledger.c.received.desc(), ledger.c.item_class, ledger.c.reason)
)
STATE_COLUMNS = (states.c.status, states.c.code, states.c.evidence, states.c.since)
_EVENT_COLUMNS = (
    events.c.id,
    events.c.time,
    events.c.received,
    events.c.agent,
    events.c.area,
    events.c.device,
    events.c.kind,
    events.c.data,
)


def in_scope(column: ColumnElement[str], scope: Scope) -> ColumnElement[bool]:
    """Return the condition that a column's area lies in a scope that is not everywhere."""
    return or_(false(), *(column.startswith(prefix(area)) for area in scope or ()))


def _within(query: Select[Any], area: str | None = None, agent: str | None = None, scope: Scope = None) -> Select[Any]:
    if scope is not None:
        query = query.where(in_scope(agents.c.area, scope))
    if area is not None:
        query = query.where(agents.c.area.startswith(prefix(area)))
    if agent is not None:
        query = query.where(agents.c.agent == agent)
    return query


def _filtered(wanted: EventFilter) -> Select[Any]:
    query = select(*_EVENT_COLUMNS)
    if wanted.scope is not None:
        query = query.where(in_scope(events.c.area, wanted.scope))
    if wanted.area is not None:
        query = query.where(events.c.area.startswith(prefix(wanted.area)))
    if wanted.agent is not None:
        query = query.where(events.c.agent == wanted.agent)
    if wanted.device is not None:
        query = query.where(events.c.device == wanted.device)
    if wanted.own:
        query = query.where(events.c.device.is_(None))
    if wanted.kind is not None:
        query = query.where(events.c.kind == wanted.kind)
    if wanted.since is not None:
        query = query.where(events.c.time >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.time < wanted.until)
    return query


def _event(row: Row[Any]) -> EventRecord:
    return EventRecord._make(row)
