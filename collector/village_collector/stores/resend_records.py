"""Which agents are to be sent a broadcast, or its withdrawal, once more; shared by several collectors on one database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, case, or_, select, update

from village_collector.stores.broadcast_reads import not_ended
from village_collector.stores.broadcast_tables import broadcast_targets, broadcasts, receipts
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.tables import agents, states

#: Of an agent that connects and answers nothing: a link that breaks every minute must not be fed for a week.
MAX_ASKS = 60
#: An agent that is connected and silent is asked again so soon, and so often.
ASK_AGAIN, ASKS_AGAIN = timedelta(seconds=60), 5
#: An agent that was started anew knows the time once it has told its state; one that tells none is asked all the same.
_SETTLES = timedelta(seconds=60)


class Due(NamedTuple):
    """An agent that is to be sent a broadcast (or its withdrawal) again. `asked` is when it was last."""

    broadcast: str
    agent: str
    targets: tuple[int, ...]
    asked: datetime
    withdrawn: bool


class ResendRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle_unsent(self, before: datetime, problem: str) -> list[str]:
        """Mark broadcasts that were issued before that time and of whose sending nothing is known as not sent; return their ids."""
        unknown = (broadcasts.c.sent.is_(None)) & (broadcasts.c.issued < before)

        def work(connection: Connection) -> list[str]:
            found = list(connection.scalars(select(broadcasts.c.id).where(unknown)))
            for part in chunks(found):
                mine = broadcast_targets.c.broadcast.in_(part) & broadcast_targets.c.sent.is_(None)
                connection.execute(update(broadcast_targets).where(mine).values(sent=False, problem=problem))
                connection.execute(
                    update(broadcasts)
                    .where(broadcasts.c.id.in_(part))
                    .values(sent=False, problem=problem, revision=broadcasts.c.revision + 1)
                )
            return found

        return self._database.write(work)

    def unsent_withdrawals(self, issued_before: datetime, now: datetime) -> list[str]:
        """Broadcasts whose withdrawal no broker has taken yet although it is older than that."""
        query = select(broadcasts.c.id).where(
            broadcasts.c.end > now, broadcasts.c.withdrawn < issued_before, broadcasts.c.withdrawal_sent.is_(None)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def due_agents(self, now: datetime, limit: int) -> list[Due]:
        """Agents that are connected and have said nothing of a broadcast (or not that it ended there, if it is withdrawn).

        They came back after they were last sent it, or have been silent for `ASK_AGAIN`.
        """
        own = (states.c.agent == agents.c.agent) & (states.c.session == agents.c.session) & (states.c.device == "")
        told = case(
            (
                broadcasts.c.withdrawal_sent.is_not(None) & (broadcasts.c.withdrawal_sent > receipts.c.asked),
                broadcasts.c.withdrawal_sent,
            ),
            else_=receipts.c.asked,
        )
        back = (agents.c.status_received > told) & (receipts.c.asks < MAX_ASKS)
        silent = (receipts.c.asked < now - ASK_AGAIN) & (told < now - ASK_AGAIN) & (receipts.c.asks < ASKS_AGAIN)
        query = (
            select(
                receipts.c.broadcast,
                receipts.c.agent,
                receipts.c.target,
                receipts.c.asked,
                broadcasts.c.withdrawn,
            )
            .join(broadcasts, broadcasts.c.id == receipts.c.broadcast)
            .join(
                broadcast_targets,
                (broadcast_targets.c.broadcast == receipts.c.broadcast)
                & (broadcast_targets.c.number == receipts.c.target),
            )
            .join(agents, agents.c.agent == receipts.c.agent)
            .outerjoin(states, own)
            .where(
                broadcasts.c.end > now,
                broadcasts.c.expected > broadcasts.c.heard + broadcasts.c.failed,
                broadcast_targets.c.sent.is_(True),
                receipts.c.expected,
                agents.c.online.is_(True),
                or_(back, silent),
                or_(states.c.agent.is_not(None), agents.c.status_received < now - _SETTLES),
                or_(
                    broadcasts.c.withdrawn.is_(None) & receipts.c.stage.is_(None),
                    broadcasts.c.withdrawal_sent.is_not(None) & not_ended(),
                ),
            )
            .order_by(broadcasts.c.issued, receipts.c.broadcast, receipts.c.agent)
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        found: dict[tuple[str, str], Due] = {}
        for row in rows:
            key = (row.broadcast, row.agent)
            before = found[key].targets if key in found else ()
            numbers = tuple(sorted({*before, row.target}))
            found[key] = Due(row.broadcast, row.agent, numbers, row.asked, row.withdrawn is not None)
        return list(found.values())

    def claim_due(self, due: Sequence[Due], now: datetime) -> list[Due]:
        """Take agents on to send to; those that another collector has taken on are left out."""

        def work(connection: Connection) -> list[Due]:
            return [
                item
                for item in due
                if connection.execute(
                    _CLAIM, {"key": item.broadcast, "whom": item.agent, "last": item.asked, "now": now}
                ).rowcount
            ]

        return self._database.write(work) if due else []


_CLAIM = (
    update(receipts)
    .where(
        receipts.c.broadcast == bindparam("key"),
        receipts.c.agent == bindparam("whom"),
        receipts.c.expected,
        receipts.c.asked == bindparam("last"),
    )
    .values(asked=bindparam("now"), asks=receipts.c.asks + 1)
    .execution_options(preserve_rowcount=True)
)
