"""How events become device states and command results.

Every rule here takes the greatest of what it sees by a fixed order, so that the order of arrival and repeats change nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, tuple_, update

from village_collector.stores.database import CHUNK
from village_collector.stores.tables import command_results, commands, events, states
from village_wire.events import CommandResult, Event, StateChanged

_T = TypeVar("_T")
_StateKey = tuple[str, str, str]
#: States of one agent: 500 devices in the present session and in three before it.
MAX_STATES = 2000
#: Answers of one agent to one command by devices of which none was expected, for which whoever reads the command would wait.
MAX_UNEXPECTED = 20


def chunks(items: Iterable[_T], size: int = CHUNK) -> Iterator[list[_T]]:
    """Cut `items` into lists that fit a statement's parameters."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def merge_states(connection: Connection, news: Sequence[tuple[str, Event]]) -> None:
    """Keep the newest state of each device and session, by the event's time and then its id."""
    newest: dict[_StateKey, dict[str, Any]] = {}
    for agent, event in news:
        if isinstance(event.data, StateChanged):
            row = _state_row(agent, event, event.data)
            key = (agent, row["device"], row["session"])
            if key not in newest or _order(row) > _order(newest[key]):
                newest[key] = row
    place = tuple_(states.c.agent, states.c.device, states.c.session)
    known: dict[_StateKey, Mapping[str, Any]] = {}
    for part in chunks(newest):
        found = connection.execute(select(states).where(place.in_(part))).mappings()
        known.update({(row["agent"], row["device"], row["session"]): dict(row) for row in found})
    added = [row for key, row in newest.items() if key not in known]
    if added:
        connection.execute(insert(states), added)
        for agent in {row["agent"] for row in added}:
            _limit_states(connection, agent)
    changed = [row for key, row in newest.items() if key in known and _order(row) > _order(known[key])]
    if changed:
        connection.execute(_STATE_UPDATE, [{f"new_{name}": value for name, value in row.items()} for row in changed])


_STATE_VALUES = ("status", "code", "evidence", "since", "time", "event")
_STATE_UPDATE = (
    update(states)
    .where(
        states.c.agent == bindparam("new_agent"),
        states.c.device == bindparam("new_device"),
        states.c.session == bindparam("new_session"),
        # Another collector on the same database may have been faster.
        or_(
            states.c.time < bindparam("new_time"),
            (states.c.time == bindparam("new_time")) & (states.c.event < bindparam("new_event")),
        ),
    )
    .values({name: bindparam(f"new_{name}") for name in _STATE_VALUES})
)


def _limit_states(connection: Connection, agent: str) -> None:
    mine = states.c.agent == agent
    # By the collector's own order of receipt, which a box can't choose: the event that each state came with.
    if (connection.scalar(select(func.count()).select_from(states).where(mine)) or 0) <= MAX_STATES:
        return
    order = select(states.c.event, events.c.number).outerjoin(events, events.c.id == states.c.event).where(mine)
    rows = sorted(connection.execute(order), key=lambda row: row.number or 0, reverse=True)
    for part in chunks([row.event for row in rows[MAX_STATES:]]):
        connection.execute(delete(states).where(mine, states.c.event.in_(part)))


def _order(row: Mapping[str, Any]) -> tuple[datetime, str]:
    return row["time"], row["event"]


def _state_row(agent: str, event: Event, data: StateChanged) -> dict[str, Any]:
    return {
        "agent": agent,
        "device": event.device or "",
        "session": data.session,
        "status": data.status,
        "code": data.code,
        "evidence": data.evidence,
        "since": data.since,
        "time": event.time,
        "event": str(event.id),
    }


@dataclass(slots=True)
class _Row:
    """One device's answer to one command."""

    expected: bool
    outcome: str | None = None
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    time: datetime | None = None
    event: str = ""
    stored: bool = False
    changed: bool = False

    @property
    def answered(self) -> bool:
        return self.outcome is not None

    @property
    def final(self) -> bool:
        return self.outcome is not None and self.outcome != "accepted"

    def take(self, event: Event, data: CommandResult) -> None:
        """Keep the answer if it is final and the present one is not, or if it is newer."""
        offered = (data.outcome != "accepted", event.time, str(event.id))
        if self.time is not None and offered <= (self.final, self.time, self.event):
            return
        self.outcome, self.reason, self.result = data.outcome, data.reason, data.result
        self.time, self.event, self.changed = event.time, str(event.id), True


def merge_results(connection: Connection, news: Sequence[tuple[str, Event]]) -> None:
    """Keep each device's latest answer to each command, and the command's counts. Answers to unknown commands are left out.

    An answer without a device is the agent's own and counts for all its expected devices.
    """
    answers: dict[tuple[str, str], list[tuple[Event, CommandResult]]] = defaultdict(list)
    for agent, event in news:
        if isinstance(event.data, CommandResult):
            answers[str(event.data.command), agent].append((event, event.data))
    known: set[str] = set()
    for part in chunks({command for command, _ in answers}):
        # Locked where the database can: another collector must not count in the same moment.
        known.update(
            connection.scalars(
                select(commands.c.id).where(commands.c.id.in_(part)).order_by(commands.c.id).with_for_update()
            )
        )
    keys = [key for key in answers if key[0] in known]
    rows = _known_rows(connection, keys)
    counts: dict[str, list[int]] = {}
    for key in keys:
        mine = rows[key]
        before = _count(mine)
        for event, data in answers[key]:
            for row in _concerned(mine, event.device or ""):
                row.take(event, data)
        if any(row.changed for row in mine.values()):
            after = _count(mine)
            delta = counts.setdefault(key[0], [0, 0])
            delta[0] += after[0] - before[0]
            delta[1] += after[1] - before[1]
    _write_rows(connection, rows)
    if counts:
        connection.execute(
            _COUNT_UPDATE, [{"key": key, "more": more, "final_more": final} for key, (more, final) in counts.items()]
        )


_COUNT_UPDATE = (
    update(commands)
    .where(commands.c.id == bindparam("key"))
    .values(
        answered=commands.c.answered + bindparam("more"),
        final=commands.c.final + bindparam("final_more"),
        revision=commands.c.revision + 1,
    )
)
_RESULT_VALUES = ("outcome", "reason", "result", "time", "event")
_RESULT_UPDATE = (
    update(command_results)
    .where(
        command_results.c.command == bindparam("new_command"),
        command_results.c.agent == bindparam("new_agent"),
        command_results.c.device == bindparam("new_device"),
    )
    .values({name: bindparam(f"new_{name}") for name in _RESULT_VALUES})
)


def _known_rows(connection: Connection, keys: list[tuple[str, str]]) -> dict[tuple[str, str], dict[str, _Row]]:
    rows: dict[tuple[str, str], dict[str, _Row]] = {key: {} for key in keys}
    place = tuple_(command_results.c.command, command_results.c.agent)
    for part in chunks(keys):
        for row in connection.execute(select(command_results).where(place.in_(part))).mappings():
            rows[row["command"], row["agent"]][row["device"]] = _Row(
                row["expected"],
                row["outcome"],
                row["reason"] or "",
                row["result"] or {},
                row["time"],
                row["event"] or "",
                stored=True,
            )
    return rows


def _concerned(rows: dict[str, _Row], device: str) -> list[_Row]:
    if device == "":
        expected = [row for row in rows.values() if row.expected]
        if expected:
            return expected
    if device not in rows and sum(not row.expected for row in rows.values()) >= MAX_UNEXPECTED:
        return []
    return [rows.setdefault(device, _Row(expected=False))]


def _count(rows: Mapping[str, _Row]) -> tuple[int, int]:
    expected = [row for row in rows.values() if row.expected]
    return sum(row.answered for row in expected), sum(row.final for row in expected)


def _write_rows(connection: Connection, rows: Mapping[tuple[str, str], Mapping[str, _Row]]) -> None:
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for (command, agent), mine in rows.items():
        for device, row in mine.items():
            if row.changed:
                values = {name: getattr(row, name) for name in _RESULT_VALUES}
                place = {"command": command, "agent": agent, "device": device}
                if row.stored:
                    changed.append({f"new_{name}": value for name, value in (place | values).items()})
                else:
                    added.append(place | values | {"expected": False})
    if added:
        connection.execute(insert(command_results), added)
    if changed:
        connection.execute(_RESULT_UPDATE, changed)
