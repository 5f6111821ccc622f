"""What the API reads of agents, devices, events and refused messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, func, select

from village_collector.health_model import AgentRecord, DeviceRecord, Lost
from village_collector.ports import DeadLetter
from village_collector.stores.database import Database
from village_collector.stores.tables import agents, dead_letters, devices, events, ledger, link_losses, states
from village_wire.areas import prefix


class UnknownEvent(LookupError):
    """No such event: it never came, or was purged."""


class Details(NamedTuple):
    """What an inventory says of a device beyond its health."""

    abilities: tuple[str, ...]
    firmware: str


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

    `own` wants those of the agents themselves, not of devices.
    """

    area: str | None = None
    agent: str | None = None
    device: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    own: bool = False


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
    """Some events, and the id after which one goes on to follow; None while there is no event at all."""

    events: Sequence[EventRecord]
    cursor: str | None


class ControlReads:
    """Queries; each sees one state of the database. All raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def health_records(
        self, area: str | None = None, agent: str | None = None
    ) -> tuple[list[AgentRecord], list[DeviceRecord]]:
        """Agents in an area (or one agent) with their devices that are in the inventory, for `village_collector.health`."""
        condition = (states.c.agent == agents.c.agent) & (states.c.session == agents.c.session)
        agent_query = select(*_AGENT_COLUMNS, *_STATE_COLUMNS).outerjoin(states, condition & (states.c.device == ""))
        device_query = (
            select(devices.c.agent, devices.c.device, devices.c.name, devices.c.driver, devices.c.kind, *_STATE_COLUMNS)
            .join(agents, agents.c.agent == devices.c.agent)
            .outerjoin(states, and_(condition, states.c.device == devices.c.device))
            .where(devices.c.removed.is_(None))
        )
        with self._database.read() as connection:
            found = connection.execute(_within(agent_query, area, agent)).all()
            found_devices = connection.execute(_within(device_query, area, agent)).all()
            losses = connection.execute(_within(_LINK_LOSSES, area, agent)).all()
            entries = connection.execute(_within(_LEDGER, area, agent)).all()
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

    def details(self, area: str | None = None, agent: str | None = None) -> dict[tuple[str, str], Details]:
        """Abilities and firmware by (agent, device)."""
        query = select(devices.c.agent, devices.c.device, devices.c.abilities, devices.c.firmware).join(
            agents, agents.c.agent == devices.c.agent
        )
        with self._database.read() as connection:
            rows = connection.execute(_within(query.where(devices.c.removed.is_(None)), area, agent)).all()
        return {(row.agent, row.device): Details(tuple(row.abilities.split()), row.firmware) for row in rows}

    def agent_summaries(self) -> list[AgentSummary]:
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
            return [AgentSummary._make(row) for row in connection.execute(query)]

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

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        """The newest refused messages, newest first."""
        columns = (
            dead_letters.c.agent,
            dead_letters.c.topic,
            dead_letters.c.received,
            dead_letters.c.reason,
            dead_letters.c.content,
        )
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).order_by(dead_letters.c.number.desc()).limit(limit)).all()
        return [DeadLetter(*row) for row in rows]


_AGENT_COLUMNS = (
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
_STATE_COLUMNS = (states.c.status, states.c.code, states.c.evidence, states.c.since)
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


def _within(query: Select[Any], area: str | None, agent: str | None) -> Select[Any]:
    if area is not None:
        query = query.where(agents.c.area.startswith(prefix(area)))
    if agent is not None:
        query = query.where(agents.c.agent == agent)
    return query


def _filtered(wanted: EventFilter) -> Select[Any]:
    query = select(*_EVENT_COLUMNS)
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
