"""What is read of broadcasts: how far they are, and where each stands on its loudspeakers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select

from village_collector.health_model import AgentRecord
from village_collector.stores.broadcast_tables import broadcast_targets, broadcasts, receipts
from village_collector.stores.control_reads import AGENT_COLUMNS, STATE_COLUMNS, Scope, in_scope
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.tables import agents, devices, states
from village_wire.broadcasts import FINAL
from village_wire.commands import Target

_ENDED = (*FINAL, "refused")


class Tally(NamedTuple):
    """Numbers of expected loudspeakers, and what tells when no more will come. `revision` grows with every change."""

    expected: int
    heard: int
    sounding: int
    failed: int
    revision: int
    start: datetime | None
    end: datetime
    lasts: float
    withdrawn: datetime | None


@dataclass(frozen=True, slots=True)
class SentTarget:
    """One command of a broadcast. `sent` is None until the broker's answer is known; `problem` says why it is false."""

    number: int
    command: str
    target: Target
    sent: bool | None
    problem: str


@dataclass(frozen=True, slots=True)
class BroadcastRecord:
    """A broadcast as issued, without secrets. `arguments` are those of the wire; `sent` is False if any target was not sent."""

    id: str
    issued: datetime
    issuer: str
    arguments: Mapping[str, Any]
    audio: str | None
    sent: bool | None
    problem: str
    withdrawn_by: str
    withdrawal_reason: str
    withdrawal_sent: datetime | None
    tally: Tally
    targets: Sequence[SentTarget] = ()


class ReceiptRecord(NamedTuple):
    """Where a broadcast is on one loudspeaker; see the table."""

    agent: str
    device: str
    name: str
    area: str
    expected: bool
    stage: str | None
    reason: str
    evidence: str
    started: datetime | None
    play: int | None
    position: float | None
    overrode: bool | None
    time: datetime | None


class BroadcastReads:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def broadcast_tally(self, broadcast: str) -> Tally | None:
        """How far a broadcast is, at a cost that does not grow with its loudspeakers; None for an unknown one."""
        with self._database.read() as connection:
            row = connection.execute(select(*_TALLY).where(broadcasts.c.id == broadcast)).one_or_none()
        return None if row is None else Tally._make(row)

    def broadcast(self, broadcast: str, scope: Scope = None) -> BroadcastRecord | None:
        """A broadcast with its targets; None for an unknown one, and for one that is meant for no loudspeaker in the scope."""
        query = select(broadcasts).where(broadcasts.c.id == broadcast)
        if scope is not None:
            query = query.where(_meant_in(scope))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            mine = broadcast_targets.c.broadcast == broadcast
            targets = connection.execute(select(broadcast_targets).where(mine).order_by(broadcast_targets.c.number))
            return _record(row, _tally(row), [_sent(found) for found in targets])

    def broadcast_receipts(self, broadcast: str, scope: Scope = None) -> tuple[list[ReceiptRecord], list[AgentRecord]]:
        """Where a broadcast is on each loudspeaker in a scope, by area, agent and device; and the agents of those that have no end yet."""
        columns = (
            receipts.c.agent,
            receipts.c.device,
            func.coalesce(devices.c.name, ""),
            receipts.c.area,
            receipts.c.expected,
            receipts.c.stage,
            func.coalesce(receipts.c.reason, ""),
            func.coalesce(receipts.c.evidence, ""),
            receipts.c.started,
            receipts.c.play,
            receipts.c.position,
            receipts.c.overrode,
            receipts.c.time,
        )
        same = and_(devices.c.agent == receipts.c.agent, devices.c.device == receipts.c.device)
        query = (
            select(*columns)
            .outerjoin_from(receipts, devices, same)
            .where(receipts.c.broadcast == broadcast)
            .order_by(receipts.c.area, receipts.c.agent, receipts.c.device)
        )
        open_ones = select(receipts.c.agent).where(receipts.c.broadcast == broadcast, not_ended())
        own = (states.c.agent == agents.c.agent) & (states.c.session == agents.c.session) & (states.c.device == "")
        agent_query = select(*AGENT_COLUMNS, *STATE_COLUMNS).outerjoin(states, own).where(agents.c.agent.in_(open_ones))
        if scope is not None:
            query = query.where(in_scope(receipts.c.area, scope))
        with self._database.read() as connection:
            found = [ReceiptRecord._make(row) for row in connection.execute(query)]
            records = [AgentRecord(*row) for row in connection.execute(agent_query)]
        return found, records

    def recent_broadcasts(self, limit: int, scope: Scope = None) -> list[BroadcastRecord]:
        """The newest broadcasts, newest first, with their targets. In a scope: those for loudspeakers there, and counts of these only."""
        query = select(broadcasts).order_by(broadcasts.c.issued.desc(), broadcasts.c.id.desc()).limit(limit)
        if scope is not None:
            query = query.where(_meant_in(scope))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            wanted = [row.id for row in rows]
            targets: defaultdict[str, list[SentTarget]] = defaultdict(list)
            counts: dict[str, tuple[int, int, int, int]] = {}
            for part in chunks(wanted):
                mine = broadcast_targets.c.broadcast.in_(part)
                for found in connection.execute(
                    select(broadcast_targets).where(mine).order_by(broadcast_targets.c.number)
                ):
                    targets[found.broadcast].append(_sent(found))
                if scope is not None:
                    counts.update(_counts_in(connection, part, scope))
        records = []
        for row in rows:
            tally = _tally(row)
            if scope is not None:
                expected, heard, sounding, failed = counts.get(row.id, (0, 0, 0, 0))
                tally = tally._replace(expected=expected, heard=heard, sounding=sounding, failed=failed)
            records.append(_record(row, tally, targets[row.id]))
        return records

    def broadcast_counts(self, wanted: Sequence[str], scope: Scope = None) -> dict[str, tuple[int, int, int, int]]:
        """Numbers of expected, heard, sounding and failed loudspeakers in a scope, of each broadcast that has any there."""
        found: dict[str, tuple[int, int, int, int]] = {}
        columns = (broadcasts.c.expected, broadcasts.c.heard, broadcasts.c.sounding, broadcasts.c.failed)
        with self._database.read() as connection:
            for part in chunks(wanted):
                if scope is not None:
                    found.update(_counts_in(connection, part, scope))
                    continue
                for row in connection.execute(select(broadcasts.c.id, *columns).where(broadcasts.c.id.in_(part))):
                    found[row[0]] = (row[1], row[2], row[3], row[4])
        return found

    def audio_in_use(self, now: datetime) -> set[str]:
        """SHA-256 of the files that broadcasts may still need."""
        query = select(broadcasts.c.audio).where(broadcasts.c.end > now, broadcasts.c.audio.is_not(None)).distinct()
        with self._database.read() as connection:
            return {str(found) for found in connection.scalars(query)}


_TALLY = (
    broadcasts.c.expected,
    broadcasts.c.heard,
    broadcasts.c.sounding,
    broadcasts.c.failed,
    broadcasts.c.revision,
    broadcasts.c.start,
    broadcasts.c.end,
    broadcasts.c.lasts,
    broadcasts.c.withdrawn,
)


def _meant_in(scope: tuple[str, ...]) -> ColumnElement[bool]:
    mine = select(receipts.c.agent).where(
        receipts.c.broadcast == broadcasts.c.id, receipts.c.expected, in_scope(receipts.c.area, scope)
    )
    return mine.exists()


def _counts_in(
    connection: Connection, wanted: Sequence[str], scope: tuple[str, ...]
) -> dict[str, tuple[int, int, int, int]]:
    def number(*stages: str) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((receipts.c.stage.in_(stages), 1), else_=0)), 0)

    failed = tuple(stage for stage in _ENDED if stage != "finished")
    query = (
        select(
            receipts.c.broadcast,
            func.count(),
            number("finished"),
            number("started", "paused", "resumed"),
            number(*failed),
        )
        .where(receipts.c.broadcast.in_(wanted), receipts.c.expected, in_scope(receipts.c.area, scope))
        .group_by(receipts.c.broadcast)
    )
    return {row[0]: (row[1], row[2], row[3], row[4]) for row in connection.execute(query)}


def not_ended() -> ColumnElement[bool]:
    """Return the condition that more will come of a loudspeaker."""
    return or_(receipts.c.stage.is_(None), receipts.c.stage.not_in(_ENDED))


def _sent(row: Row[Any]) -> SentTarget:
    narrowed = {"tags": row.tags.split(), "without": row.without.split()}
    target = Target.model_validate({"area": row.area, "agent": row.agent, "device": row.device, **narrowed})
    return SentTarget(row.number, row.command, target, row.sent, row.problem)


def _record(row: Row[Any], tally: Tally, targets: Sequence[SentTarget]) -> BroadcastRecord:
    return BroadcastRecord(
        row.id,
        row.issued,
        row.issuer,
        row.arguments,
        row.audio,
        row.sent,
        row.problem,
        row.withdrawn_by or "",
        row.withdrawal_reason or "",
        row.withdrawal_sent,
        tally,
        targets,
    )


def _tally(row: Row[Any]) -> Tally:
    return Tally(
        row.expected,
        row.heard,
        row.sounding,
        row.failed,
        row.revision,
        row.start,
        row.end,
        row.lasts,
        row.withdrawn,
    )
