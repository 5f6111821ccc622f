"""Alerts of the Common Alerting Protocol in the control store: each is taken once, whoever brings it and however often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, select, update

from village_collector.cap.alert import Reference
from village_collector.stores.cap_tables import cap_alerts, cap_broadcasts, cap_references
from village_collector.stores.database import Database
from village_collector.stores.feed_records import hear
from village_collector.stores.merging import chunks
from village_collector.stores.receivers import receivers_of
from village_collector.stores.tables import agents, devices
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES

#: Whoever took a broadcast on is done with sending it by then, or has ended.
LEASE = timedelta(seconds=30)
#: After a failure of the broker.
_RETRY = timedelta(seconds=3)
_PURGED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert that was verified; see the table."""

    id: str
    reference: Reference
    feed: str
    signer: str
    digest: str
    received: datetime
    until: datetime
    person: str
    document: Mapping[str, Any]
    #: What it takes back.
    replaces: Sequence[Reference] = ()


class PlannedBroadcast(NamedTuple):
    """A broadcast that is to be issued; `arguments` are those of the wire with the text, which is said if `audio` is gone."""

    broadcast: str
    info: int
    areas: Sequence[str]
    arguments: Mapping[str, Any]
    audio: str | None


class AlertBroadcast(NamedTuple):
    """A broadcast of an alert; see the table. `person` brought the alert."""

    broadcast: str
    alert: str
    info: int
    areas: tuple[str, ...]
    arguments: Mapping[str, Any]
    audio: str | None
    state: str
    problem: str
    superseded: str | None
    person: str


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert with its broadcasts in the order of its info blocks."""

    id: str
    reference: Reference
    feed: str
    signer: str
    digest: str
    received: datetime
    person: str
    document: Mapping[str, Any]
    broadcasts: tuple[AlertBroadcast, ...] = ()
    #: The alerts that take it back.
    replaced_by: tuple[str, ...] = ()


class CapRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def alert_named(self, reference: Reference) -> StoredAlert | None:
        """The alert of a name; None for an unknown one."""
        return self._one(_named(reference))

    def alert(self, alert: str) -> StoredAlert | None:
        """The alert of an id; None for an unknown one."""
        return self._one(cap_alerts.c.id == alert)

    def recent_alerts(self, limit: int, identifier: str | None = None) -> list[StoredAlert]:
        """The newest alerts, newest first; with `identifier` those that are called so."""
        query = select(cap_alerts).order_by(cap_alerts.c.received.desc(), cap_alerts.c.id.desc()).limit(limit)
        if identifier is not None:
            query = query.where(cap_alerts.c.identifier == identifier)
        with self._database.read() as connection:
            return _alerts(connection, connection.execute(query).all())

    def loudspeaker_areas(self) -> frozenset[str]:
        """The areas of all agents that have a loudspeaker."""
        query = receivers_of(LOUDSPEAKER_ABILITIES, None, None, None, agents.c.area).distinct()
        with self._database.read() as connection:
            return frozenset(connection.scalars(query.join(agents, agents.c.agent == devices.c.agent)))

    def take_alert(self, new: NewAlert, planned: Sequence[PlannedBroadcast]) -> tuple[StoredAlert, bool]:
        """Keep an alert, unless it is known; return it as it is kept, and whether it is new.

        In one transaction: what it replaces is marked so, it is itself if what replaces it came earlier, its feed is heard. Only alerts
        of the same feed replace one another. Its broadcasts are claimed by the caller.
        """
        now = new.received

        def work(connection: Connection) -> tuple[StoredAlert, bool]:
            known = connection.execute(select(cap_alerts).where(_named(new.reference))).one_or_none()
            if known is not None:
                return _alerts(connection, [known])[0], False
            by = _replaced_by(connection, new.feed, new.reference)
            connection.execute(
                insert(cap_alerts).values(
                    id=new.id,
                    **new.reference._asdict(),
                    feed=new.feed,
                    signer=new.signer,
                    digest=new.digest,
                    received=now,
                    until=new.until,
                    person=new.person,
                    document=dict(new.document),
                )
            )
            for reference in dict.fromkeys(new.replaces):
                connection.execute(insert(cap_references).values(alert=new.id, **reference._asdict()))
                _supersede(connection, new, reference)
            for one in planned:
                connection.execute(
                    insert(cap_broadcasts).values(
                        broadcast=one.broadcast,
                        alert=new.id,
                        info=one.info,
                        areas={"areas": list(one.areas)},
                        arguments=dict(one.arguments),
                        audio=one.audio,
                        state="dropped" if by else "planned",
                        problem="taken back before it came" if by else "",
                        claimed=now,
                        superseded=by[0] if by else None,
                    )
                )
            hear(connection, new.feed, new.reference.sent, now)
            row = connection.execute(select(cap_alerts).where(cap_alerts.c.id == new.id)).one()
            return _alerts(connection, [row])[0], True

        return self._database.write(work)

    def claim_planned(self, now: datetime) -> list[AlertBroadcast]:
        """Take on broadcasts that are planned and that nobody is sending; what is claimed is the caller's for `LEASE`."""
        due = (cap_broadcasts.c.state == "planned") & (cap_broadcasts.c.claimed < now - LEASE)

        def work(connection: Connection) -> list[AlertBroadcast]:
            rows = connection.execute(_WITH_PERSON.where(due).order_by(cap_broadcasts.c.broadcast)).all()
            for part in chunks([row.broadcast for row in rows]):
                connection.execute(
                    update(cap_broadcasts).where(cap_broadcasts.c.broadcast.in_(part)).values(claimed=now)
                )
            return [_broadcast(row) for row in rows]

        with self._database.read() as connection:
            if connection.scalar(select(cap_broadcasts.c.broadcast).where(due).limit(1)) is None:
                return []
        return self._database.write(work)

    def settle_planned(self, broadcast: str, state: str, problem: str = "") -> None:
        """Keep that a broadcast is `aired`, or `dropped` for good."""
        self._change(broadcast, {"state": state, "problem": problem})

    def postpone_planned(self, broadcast: str, problem: str, now: datetime) -> None:
        """Keep why a broadcast could not be sent yet; it is due again soon."""
        self._change(broadcast, {"problem": problem, "claimed": now - LEASE + _RETRY})

    def superseded_broadcasts(self) -> list[AlertBroadcast]:
        """Broadcasts that were aired, are taken back by a later alert, and are not withdrawn yet."""
        query = _WITH_PERSON.where(
            cap_broadcasts.c.superseded.is_not(None), cap_broadcasts.c.withdrawn == 0, cap_broadcasts.c.state == "aired"
        )
        with self._database.read() as connection:
            return [_broadcast(row) for row in connection.execute(query)]

    def mark_superseded_withdrawn(self, broadcast: str) -> None:
        """Keep that the withdrawal of a broadcast is on disk."""
        self._change(broadcast, {"withdrawn": 1})

    def _one(self, condition: ColumnElement[bool]) -> StoredAlert | None:
        with self._database.read() as connection:
            row = connection.execute(select(cap_alerts).where(condition)).one_or_none()
            return None if row is None else _alerts(connection, [row])[0]

    def _change(self, broadcast: str, values: Mapping[str, Any]) -> None:
        statement = update(cap_broadcasts).where(cap_broadcasts.c.broadcast == broadcast).values(**values)
        self._database.write(lambda connection: connection.execute(statement))

    def _purge_alerts(self, connection: Connection, before: datetime) -> bool:
        # Answers whether there may be more. One that may still be played again stays, or it would be aired twice.
        old = connection.scalars(
            select(cap_alerts.c.id)
            .where(cap_alerts.c.received < before, cap_alerts.c.until < before)
            .limit(_PURGED_AT_ONCE)
        ).all()
        for part in chunks(old):
            connection.execute(delete(cap_references).where(cap_references.c.alert.in_(part)))
            connection.execute(delete(cap_broadcasts).where(cap_broadcasts.c.alert.in_(part)))
            connection.execute(delete(cap_alerts).where(cap_alerts.c.id.in_(part)))
        return len(old) >= _PURGED_AT_ONCE


_WITH_PERSON = select(cap_broadcasts, cap_alerts.c.person).join(cap_alerts, cap_alerts.c.id == cap_broadcasts.c.alert)


def _named(reference: Reference) -> ColumnElement[bool]:
    return and_(
        cap_alerts.c.sender == reference.sender,
        cap_alerts.c.identifier == reference.identifier,
        cap_alerts.c.sent == reference.sent,
    )


def _replaced_by(connection: Connection, feed: str, reference: Reference) -> list[str]:
    query = (
        select(cap_references.c.alert)
        .join(cap_alerts, cap_alerts.c.id == cap_references.c.alert)
        .where(
            cap_alerts.c.feed == feed,
            cap_references.c.sender == reference.sender,
            cap_references.c.identifier == reference.identifier,
            cap_references.c.sent == reference.sent,
        )
        .order_by(cap_alerts.c.received, cap_alerts.c.id)
    )
    return list(connection.scalars(query))


def _supersede(connection: Connection, new: NewAlert, reference: Reference) -> None:
    theirs = exists().where(cap_alerts.c.id == cap_broadcasts.c.alert, cap_alerts.c.feed == new.feed, _named(reference))
    open_ones = cap_broadcasts.c.superseded.is_(None) & theirs
    connection.execute(update(cap_broadcasts).where(open_ones).values(superseded=new.id))


def _alerts(connection: Connection, rows: Sequence[Row[Any]]) -> list[StoredAlert]:
    broadcasts: defaultdict[str, list[AlertBroadcast]] = defaultdict(list)
    for part in chunks([row.id for row in rows]):
        order = (cap_broadcasts.c.info, cap_broadcasts.c.broadcast)
        for found in connection.execute(_WITH_PERSON.where(cap_broadcasts.c.alert.in_(part)).order_by(*order)):
            broadcasts[found.alert].append(_broadcast(found))
    made = []
    for row in rows:
        reference = Reference(row.sender, row.identifier, row.sent)
        made.append(
            StoredAlert(
                row.id,
                reference,
                row.feed,
                row.signer,
                row.digest,
                row.received,
                row.person,
                row.document,
                tuple(broadcasts[row.id]),
                tuple(_replaced_by(connection, row.feed, reference)),
            )
        )
    return made


def _broadcast(row: Row[Any]) -> AlertBroadcast:
    return AlertBroadcast(
        row.broadcast,
        row.alert,
        row.info,
        tuple(row.areas["areas"]),
        row.arguments,
        row.audio,
        row.state,
        row.problem,
        row.superseded,
        row.person,
    )
