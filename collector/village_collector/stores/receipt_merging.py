"""How receipts become the standing of a broadcast on each loudspeaker.

As in `merging`, every rule takes the greatest of what it sees by a fixed order: first how far a stage is, then the event's time. So the
order of arrival and repeats change nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from village_collector.stores.broadcast_tables import broadcast_targets, broadcasts, receipts
from village_collector.stores.merging import chunks
from village_collector.stores.tables import agents
from village_wire.broadcasts import FINAL, Stage
from village_wire.events import CommandResult, Event, Receipt

#: `refused` is the collector's word for a command that an agent answered with a refusal in place of receipts.
Reached = Stage | Literal["refused"]
Group = Literal["", "heard", "sounding", "failed"]

#: How far each stage is. What has begun is not queued any more, whatever a clock says; whatever was refused may have come through later.
_PHASES: Mapping[str, int] = {
    "refused": 0,
    "queued": 1,
    # Who was ready may have to wait again.
    "ready": 1,
    "fetched": 2,
    "started": 3,
    "paused": 3,
    "resumed": 3,
    **dict.fromkeys(FINAL, 4),
}
#: Settles what happened in the same microsecond.
_TIES: Mapping[str, int] = {stage: number for number, stage in enumerate(_PHASES)}
#: Loudspeakers of one agent that were not expected and are kept all the same.
MAX_OTHERS = 50


def group_of(stage: str | None) -> Group:
    """Return as what a stage counts; "" for a loudspeaker that waits or said nothing."""
    if stage == "finished":
        return "heard"
    if stage in {"started", "paused", "resumed"}:
        return "sounding"
    return "failed" if stage is not None and (stage in FINAL or stage == "refused") else ""


@dataclass(slots=True)
class Standing:
    """Where one broadcast is on one loudspeaker."""

    expected: bool
    target: int | None = None
    stage: str | None = None
    reason: str = ""
    evidence: str = ""
    started: datetime | None = None
    play: int | None = None
    position: float | None = None
    overrode: bool | None = None
    time: datetime | None = None
    event: str = ""
    stored: bool = False
    changed: bool = False

    def take(self, event: Event, data: Receipt) -> None:
        """Take a receipt in, whenever it comes."""
        if data.stage == "started" and (self.started is None or event.time < self.started):
            self.started, self.changed = event.time, True
        if data.overrode and not self.overrode:
            self.overrode, self.changed = True, True
        if self._follows(data.stage, event):
            self.play, self.position = data.play, data.position
            self._set(event, data.stage, data.reason, data.evidence)

    def take_refusal(self, event: Event, data: CommandResult) -> None:
        """Take in that the agent refused, or that its command failed."""
        if self._follows("refused", event):
            self._set(event, "refused", data.reason or data.outcome, "")

    def _follows(self, stage: Reached, event: Event) -> bool:
        if self.stage is None or self.time is None:
            return True
        offered = (_PHASES[stage], event.time, _TIES[stage], str(event.id))
        return offered > (_PHASES[self.stage], self.time, _TIES[self.stage], self.event)

    def _set(self, event: Event, stage: Reached, reason: str, evidence: str) -> None:
        self.stage, self.reason, self.evidence = stage, reason, evidence
        self.time, self.event, self.changed = event.time, str(event.id), True


class _Place(NamedTuple):
    broadcast: str
    agent: str


def merge_receipts(connection: Connection, news: Sequence[tuple[str, Event]]) -> None:
    """Keep where each broadcast is on each loudspeaker, and the broadcast's counts. What is about unknown broadcasts is left out.

    A refusal without a device is the agent's own and counts for all its loudspeakers that the command was for.
    """
    told: defaultdict[str, list[tuple[str, Event]]] = defaultdict(list)
    for agent, event in news:
        data = event.data
        if isinstance(data, Receipt) and event.device is not None:
            told[str(data.broadcast)].append((agent, event))
        elif isinstance(data, CommandResult) and data.outcome in {"refused", "failed"}:
            told[str(data.command)].append((agent, event))
    if not told:
        return
    commands = _broadcasts_of(connection, told)
    _lock(connection, {broadcast for broadcast, _ in commands.values()})
    offered: defaultdict[_Place, list[tuple[Event, frozenset[int]]]] = defaultdict(list)
    for command, (broadcast, numbers) in commands.items():
        for agent, event in told[command]:
            offered[_Place(broadcast, agent)].append((event, numbers))
    rows = _known(connection, offered)
    changes: dict[str, list[int]] = {}
    for place, events in offered.items():
        mine = rows[place]
        before = _count(mine.values())
        for event, numbers in events:
            _take(mine, event, numbers)
        if any(row.changed for row in mine.values()):
            delta = changes.setdefault(place.broadcast, [0, 0, 0])
            for index, (old, new) in enumerate(zip(before, _count(mine.values()), strict=True)):
                delta[index] += new - old
    _write(connection, rows)
    if changes:
        parameters = [
            {"key": key, "heard_more": delta[0], "sounding_more": delta[1], "failed_more": delta[2]}
            for key, delta in changes.items()
        ]
        connection.execute(_COUNT_UPDATE, parameters)


def _take(mine: dict[str, Standing], event: Event, numbers: frozenset[int]) -> None:
    if isinstance(event.data, Receipt):
        device = event.device or ""
        if device not in mine:
            if sum(not row.expected for row in mine.values()) >= MAX_OTHERS:
                return
            mine[device] = Standing(expected=False)
        mine[device].take(event, event.data)
    elif isinstance(event.data, CommandResult):
        for device, row in mine.items():
            if row.expected and row.target in numbers and event.device in {None, device}:
                row.take_refusal(event, event.data)


def _broadcasts_of(connection: Connection, told: Iterable[str]) -> dict[str, tuple[str, frozenset[int]]]:
    """Return the broadcast that each command was for, with the numbers of its targets; unknown ones are left out."""
    numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    columns = (broadcast_targets.c.command, broadcast_targets.c.broadcast, broadcast_targets.c.number)
    for part in chunks(told):
        for row in connection.execute(select(*columns).where(broadcast_targets.c.command.in_(part))):
            numbers[row.command, row.broadcast].add(row.number)
    return {command: (broadcast, frozenset(found)) for (command, broadcast), found in numbers.items()}


def _lock(connection: Connection, wanted: set[str]) -> None:
    for part in chunks(sorted(wanted)):
        connection.execute(
            select(broadcasts.c.id).where(broadcasts.c.id.in_(part)).order_by(broadcasts.c.id).with_for_update()
        )


def _known(connection: Connection, places: Iterable[_Place]) -> dict[_Place, dict[str, Standing]]:
    rows: dict[_Place, dict[str, Standing]] = {place: {} for place in places}
    key = tuple_(receipts.c.broadcast, receipts.c.agent)
    for part in chunks(rows):
        for row in connection.execute(select(receipts).where(key.in_(part))):
            rows[_Place(row.broadcast, row.agent)][row.device] = Standing(
                row.expected,
                row.target,
                row.stage,
                row.reason or "",
                row.evidence or "",
                row.started,
                row.play,
                row.position,
                row.overrode,
                row.time,
                row.event or "",
                stored=True,
            )
    return rows


def _count(rows: Iterable[Standing]) -> tuple[int, int, int]:
    groups = [group_of(row.stage) for row in rows if row.expected]
    return groups.count("heard"), groups.count("sounding"), groups.count("failed")


_VALUES = ("stage", "reason", "evidence", "started", "play", "position", "overrode", "time", "event")
_UPDATE = (
    update(receipts)
    .where(
        receipts.c.broadcast == bindparam("new_broadcast"),
        receipts.c.agent == bindparam("new_agent"),
        receipts.c.device == bindparam("new_device"),
    )
    .values({name: bindparam(f"new_{name}") for name in _VALUES})
)
_COUNT_UPDATE = (
    update(broadcasts)
    .where(broadcasts.c.id == bindparam("key"))
    .values(
        heard=broadcasts.c.heard + bindparam("heard_more"),
        sounding=broadcasts.c.sounding + bindparam("sounding_more"),
        failed=broadcasts.c.failed + bindparam("failed_more"),
        revision=broadcasts.c.revision + 1,
    )
)


def _write(connection: Connection, rows: Mapping[_Place, Mapping[str, Standing]]) -> None:
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for place, mine in rows.items():
        for device, row in mine.items():
            if row.changed:
                values = {name: getattr(row, name) for name in _VALUES}
                where = {**place._asdict(), "device": device}
                if row.stored:
                    changed.append({f"new_{name}": value for name, value in (where | values).items()})
                else:
                    added.append(where | values | {"expected": False, "area": ""})
    if added:
        areas: dict[str, str] = {}
        for part in chunks({row["agent"] for row in added}):
            found = connection.execute(select(agents.c.agent, agents.c.area).where(agents.c.agent.in_(part)))
            areas.update({row.agent: row.area for row in found})
        connection.execute(insert(receipts), [{**row, "area": areas.get(row["agent"], "")} for row in added])
    if changed:
        connection.execute(_UPDATE, changed)
