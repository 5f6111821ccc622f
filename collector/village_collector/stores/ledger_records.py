"""The loss ledgers of agents as they last told them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_, update

from village_collector.stores.merging import chunks
from village_collector.stores.tables import ledger
from village_wire.events import Event, Loss

#: An agent keeps some thirty reasons of each class; more can only be another program.
MAX_ENTRIES = 200
_Key = tuple[str, str, str]


def merge_ledger(connection: Connection, news: Sequence[tuple[str, Event, datetime]]) -> None:
    """Keep the newest entry of each agent, class and reason, by the event's time and then its id. `news` has the time of receipt."""
    newest: dict[_Key, dict[str, Any]] = {}
    for agent, event, received in news:
        if isinstance(event.data, Loss):
            row = _row(agent, event, event.data, received)
            key = (agent, row["item_class"], row["reason"])
            if key not in newest or _order(row) > _order(newest[key]):
                newest[key] = row
    if not newest:
        return
    place = tuple_(ledger.c.agent, ledger.c.item_class, ledger.c.reason)
    known: dict[_Key, Mapping[str, Any]] = {}
    for part in chunks(newest):
        found = connection.execute(select(ledger).where(place.in_(part))).mappings()
        known.update({(row["agent"], row["item_class"], row["reason"]): dict(row) for row in found})
    added = [row for key, row in newest.items() if key not in known]
    if added:
        connection.execute(insert(ledger), added)
        for agent in {row["agent"] for row in added}:
            _limit(connection, agent)
    changed = [row for key, row in newest.items() if key in known and _order(row) > _order(known[key])]
    for row in changed:
        before = known[row["agent"], row["item_class"], row["reason"]]
        if row["count"] == before["count"]:
            # Told again, as after each start of the agent: nothing new was lost.
            row["received"] = before["received"]
    if changed:
        connection.execute(_UPDATE, [{f"new_{name}": value for name, value in row.items()} for row in changed])


_UPDATE = (
    update(ledger)
    .where(
        ledger.c.agent == bindparam("new_agent"),
        ledger.c.item_class == bindparam("new_item_class"),
        ledger.c.reason == bindparam("new_reason"),
    )
    .values({name: bindparam(f"new_{name}") for name in ("count", "first", "last", "received", "time", "event")})
)


def _limit(connection: Connection, agent: str) -> None:
    mine = select(ledger.c.item_class, ledger.c.reason).where(ledger.c.agent == agent)
    rows = connection.execute(mine.order_by(ledger.c.received.desc(), ledger.c.reason)).all()
    for row in rows[MAX_ENTRIES:]:
        connection.execute(
            delete(ledger).where(
                ledger.c.agent == agent, ledger.c.item_class == row.item_class, ledger.c.reason == row.reason
            )
        )


def _order(row: Mapping[str, Any]) -> tuple[datetime, str]:
    return row["time"], row["event"]


def _row(agent: str, event: Event, data: Loss, received: datetime) -> dict[str, Any]:
    return {
        "agent": agent,
        "item_class": data.item_class,
        "reason": data.reason.replace("\0", "\N{REPLACEMENT CHARACTER}"),
        "count": data.count,
        "first": data.first,
        "last": data.last,
        "received": received,
        "time": event.time,
        "event": str(event.id),
    }
