"""What agents play by themselves, in the control store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from village_collector.stores.broadcast_tables import schedules
from village_collector.stores.counting import count_up, read_counter
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.receivers import receivers_of
from village_collector.stores.tables import agents, devices
from village_wire.areas import prefix
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES
from village_wire.commands import Target
from village_wire.schedules import Programme, Schedule, target_text

_REVISION = "schedules"


class ScheduleRecord(NamedTuple):
    """All programmes of one target, when and by whom they were changed last."""

    schedule: Schedule
    changed: datetime
    by: str


class ScheduleRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def schedules(self) -> list[ScheduleRecord]:
        """Those of all targets, in their order; those whose programmes were removed too."""
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(select(schedules).order_by(schedules.c.target))]

    def scheduled_audio(self) -> set[str]:
        """SHA-256 of the files that programmes need."""
        items = [item for one in self.schedules() for programme in one.schedule.programmes for item in programme.items]
        return {item.audio.sha256 for item in items if item.audio is not None}

    def schedules_revision(self) -> int:
        """A number that grows with each change of any schedule."""
        with self._database.read() as connection:
            return read_counter(connection, _REVISION)

    def change_schedule(
        self,
        target: Target,
        change: Callable[[Sequence[Programme]], Iterable[Programme]],
        now: datetime,
        by: str,
    ) -> ScheduleRecord:
        """Let `change` say what a target plays instead of what it plays now; return that under its new number.

        `change` may be called several times; what it raises is passed on, and nothing is stored. Raises `ValueError` (pydantic's
        `ValidationError`) for too many programmes, or two with one id.
        """
        key = target_text(target)

        def work(connection: Connection) -> ScheduleRecord:
            row = connection.execute(select(schedules).where(schedules.c.target == key)).one_or_none()
            before = _record(row).schedule if row is not None else None
            programmes = tuple(change(before.programmes if before else ()))
            # A database that was lost begins anew above all numbers that agents know.
            number = max(int(now.timestamp()), before.number + 1 if before else 1)
            made = Schedule(target=target, number=number, programmes=programmes)
            values = {
                "number": number,
                "document": made.model_dump_json(exclude_none=True),
                "changed": now,
                "by": by,
            }
            if row is None:
                place = {"area": target.area, "agent": target.agent, "device": target.device}
                connection.execute(insert(schedules).values(target=key, **place, **values))
            else:
                connection.execute(update(schedules).where(schedules.c.target == key).values(values))
            count_up(connection, _REVISION)
            return ScheduleRecord(made, now, by)

        return self._database.write(work)

    def areas_of_agents(self, wanted: Iterable[str]) -> dict[str, str]:
        """Where agents are; unknown ones are left out, and "" stands for no area yet."""
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for part in chunks(wanted):
                rows = connection.execute(select(agents.c.agent, agents.c.area).where(agents.c.agent.in_(part)))
                found.update({row.agent: row.area for row in rows})
        return found

    def connected_in(self, target: Target) -> list[str]:
        """Agents whom a target concerns and that are connected as far as is known, by name."""
        place = (
            agents.c.agent == target.agent
            if target.area is None
            else agents.c.area.startswith(prefix(target.area), autoescape=True)
        )
        with self._database.read() as connection:
            query = select(agents.c.agent).where(place, agents.c.online.is_(True)).order_by(agents.c.agent)
            return list(connection.scalars(query))

    def has_loudspeaker(self, target: Target) -> bool:
        """Whether a target has a loudspeaker now."""
        query = receivers_of(
            LOUDSPEAKER_ABILITIES, target.area, target.agent, target.device, devices.c.device, tags=target.tags
        )
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).first() is not None


def _record(row: Row[tuple[object, ...]]) -> ScheduleRecord:
    return ScheduleRecord(Schedule.model_validate_json(row.document), row.changed, row.by)
