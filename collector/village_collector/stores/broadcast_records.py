"""Broadcasts in the control store: issued, sent, withdrawn, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    insert,
    literal,
    select,
    update,
)

from village_collector.broadcasts.targets import Order, agents_of, plan
from village_collector.stores.broadcast_reads import BroadcastReads
from village_collector.stores.broadcast_tables import broadcast_targets, broadcasts, receipts
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.receivers import receivers_of
from village_collector.stores.resend_records import ResendRecords
from village_collector.stores.tables import agents, devices
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES
from village_wire.commands import Target

#: A broadcast to a whole county has ten thousand receipts.
_PURGED_AT_ONCE = 20


class Nobody(Exception):
    """A target has no loudspeaker."""

    def __init__(self, target: Target) -> None:
        super().__init__(str(target))
        self.target = target


class BroadcastRecords(BroadcastReads, ResendRecords):
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    def add_broadcast(
        self,
        broadcast: UUID,
        issued: datetime,
        issuer: str,
        arguments: Mapping[str, Any],
        targets: Sequence[Target],
        *,
        start: datetime | None,
        end: datetime,
        lasts: float,
        new_id: Callable[[], UUID],
    ) -> list[Order]:
        """Keep a new broadcast with the loudspeakers that are to be heard; return the commands that are to be sent.

        Raises:
            Nobody: a target has no loudspeaker; nothing was stored.
            ValueError: more than `MAX_TAGS` different tags; nothing was stored.
        """
        key = str(broadcast)
        audio = arguments.get("audio")
        row = {
            "id": key,
            "issued": issued,
            "issuer": issuer,
            "arguments": dict(arguments),
            "audio": audio["sha256"] if audio else None,
            "start": start,
            "end": end,
            "lasts": lasts,
        }

        def work(connection: Connection) -> list[Order]:
            for target in targets:
                if target.tags and not _has_loudspeaker(connection, target):
                    raise Nobody(target)
            orders: list[Order] = []
            expected = 0
            for order in plan(broadcast, targets, _areas(connection, agents_of(targets)), new_id):
                number, target = len(orders), order.target
                count = _expect(connection, key, number, target, issued)
                if not count:
                    place = target.model_copy(update={"tags": (), "without": ()})
                    if target.without and _has_loudspeaker(connection, place):
                        # All of them are reached by another command.
                        continue
                    raise Nobody(place)
                expected += count
                connection.execute(
                    insert(broadcast_targets).values(
                        broadcast=key, number=number, command=str(order.command), **_columns(target)
                    )
                )
                orders.append(order)
            connection.execute(insert(broadcasts).values(**row, expected=expected))
            return orders

        return self._database.write(work)

    def mark_broadcast_sent(self, broadcast: str, problems: Sequence[str]) -> None:
        """Keep what became of each command: "" for one that the broker took, else why not."""
        rows = [
            {"key": broadcast, "index": number, "taken": not text, "text": text} for number, text in enumerate(problems)
        ]
        told = "; ".join(dict.fromkeys(text for text in problems if text))
        statement = update(broadcasts).where(broadcasts.c.id == broadcast).values(sent=not told, problem=told)

        def work(connection: Connection) -> None:
            connection.execute(_SENT_UPDATE, rows)
            connection.execute(statement)

        self._database.write(work)

    def withdraw_broadcast(self, broadcast: str, by: str, reason: str, now: datetime) -> bool:
        """Keep that a broadcast is withdrawn; False if it was already."""
        statement = (
            update(broadcasts)
            .where(broadcasts.c.id == broadcast, broadcasts.c.withdrawn.is_(None))
            .values(withdrawn=now, withdrawn_by=by, withdrawal_reason=reason, revision=broadcasts.c.revision + 1)
        )
        return bool(self._database.write(lambda connection: connection.execute(statement).rowcount))

    def mark_withdrawal_sent(self, broadcast: str, time: datetime) -> None:
        """Keep that the broker took the withdrawal."""
        statement = update(broadcasts).where(broadcasts.c.id == broadcast).values(withdrawal_sent=time)
        self._database.write(lambda connection: connection.execute(statement))

    def _purge_broadcasts(self, connection: Connection, before: datetime) -> bool:
        # Answers whether there may be more.
        old = connection.scalars(select(broadcasts.c.id).where(broadcasts.c.end < before).limit(_PURGED_AT_ONCE)).all()
        for part in chunks(old):
            connection.execute(delete(receipts).where(receipts.c.broadcast.in_(part)))
            connection.execute(delete(broadcast_targets).where(broadcast_targets.c.broadcast.in_(part)))
            connection.execute(delete(broadcasts).where(broadcasts.c.id.in_(part)))
        return len(old) >= _PURGED_AT_ONCE


_SENT_UPDATE = (
    update(broadcast_targets)
    .where(broadcast_targets.c.broadcast == bindparam("key"), broadcast_targets.c.number == bindparam("index"))
    .values(sent=bindparam("taken"), problem=bindparam("text"))
)


def _expect(connection: Connection, broadcast: str, number: int, target: Target, issued: datetime) -> int:
    """Add the loudspeakers of a target and return their number; found and written inside the database, as for commands."""
    places = receivers_of(
        LOUDSPEAKER_ABILITIES,
        target.area,
        target.agent,
        target.device,
        literal(broadcast),
        devices.c.agent,
        devices.c.device,
        literal(True),
        agents.c.area,
        literal(number),
        literal(issued, receipts.c.asked.type),
        literal(0),
        tags=target.tags,
        without=target.without,
    )
    if target.area is None:
        places = places.join(agents, agents.c.agent == devices.c.agent)
    names = ["broadcast", "agent", "device", "expected", "area", "target", "asked", "asks"]
    copy = insert(receipts).from_select(names, places, include_defaults=False)
    return connection.execute(copy.execution_options(preserve_rowcount=True)).rowcount


def _has_loudspeaker(connection: Connection, target: Target) -> bool:
    query = receivers_of(
        LOUDSPEAKER_ABILITIES,
        target.area,
        target.agent,
        target.device,
        devices.c.device,
        tags=target.tags,
        without=target.without,
    )
    return connection.execute(query.limit(1)).first() is not None


def _areas(connection: Connection, names: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in chunks(names):
        rows = connection.execute(select(agents.c.agent, agents.c.area).where(agents.c.agent.in_(part)))
        found.update({row.agent: row.area for row in rows})
    return found


def _columns(target: Target) -> dict[str, str | None]:
    words = {"tags": " ".join(target.tags), "without": " ".join(target.without)}
    return {"area": target.area, "agent": target.agent, "device": target.device, **words}
