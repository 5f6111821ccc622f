"""Live voices in the control store: who may speak where, whichever collector carries the voice.

Whether a collector is still there is judged by the clock of the database's server, since collectors' own clocks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from village_collector.live.overlap import Placed
from village_collector.stores.broadcast_tables import broadcasts
from village_collector.stores.database import Database
from village_collector.stores.sound_tables import speeches
from village_wire.broadcasts import Class
from village_wire.commands import Target

NOBODY_SPOKE = "nobody spoke"


class SpeechRecord(NamedTuple):
    """A live voice; see the table."""

    broadcast: str
    person: str
    rank: Class
    title: str
    targets: tuple[Placed, ...]
    key: str
    collector: str | None = None
    seconds: float = 0.0
    cut: str = ""
    ended: datetime | None = None
    reason: str = ""


class SpeechRecords:
    """All methods block and raise `StoreUnavailable`. `now` is the collector's clock, which counts only where no server has one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_speech(
        self,
        speech: SpeechRecord,
        now: datetime,
        patience: timedelta,
        check: Callable[[Sequence[SpeechRecord]], None],
    ) -> None:
        """Keep a voice that may begin within `patience`, if `check` raises nothing about those that are not over; it may run several times."""
        row = {
            "broadcast": speech.broadcast,
            "person": speech.person,
            "rank": speech.rank,
            "title": speech.title,
            "targets": _document(speech.targets),
            "key": speech.key,
        }

        def work(connection: Connection) -> None:
            check([_record(found) for found in connection.execute(select(speeches).where(speeches.c.ended.is_(None)))])
            connection.execute(insert(speeches).values(**row, until=_moment(connection, now) + patience))

        self._database.write(work)

    def expect_speech(self, broadcast: str, now: datetime, patience: timedelta) -> None:
        """Let a voice that was announced begin within `patience` from this moment on."""

        def work(connection: Connection) -> None:
            mine = (speeches.c.broadcast == broadcast) & speeches.c.collector.is_(None)
            connection.execute(update(speeches).where(mine).values(until=_moment(connection, now) + patience))

        self._database.write(work)

    def drop_speech(self, broadcast: str) -> None:
        """Forget a voice that came to nothing."""
        statement = delete(speeches).where(speeches.c.broadcast == broadcast)
        self._database.write(lambda connection: connection.execute(statement))

    def begin_speech(self, broadcast: str, person: str, collector: str, now: datetime) -> SpeechRecord | None:
        """Let a collector carry a voice of this person; None if none is expected. Only one collector ever gets it."""

        def work(connection: Connection) -> SpeechRecord | None:
            time = _moment(connection, now)
            free = (
                (speeches.c.broadcast == broadcast)
                & (speeches.c.person == person)
                & speeches.c.collector.is_(None)
                & speeches.c.ended.is_(None)
                & (speeches.c.until >= time)
            )
            if not connection.execute(update(speeches).where(free).values(collector=collector, heard=time)).rowcount:
                return None
            return _record(connection.execute(select(speeches).where(speeches.c.broadcast == broadcast)).one())

        return self._database.write(work)

    def carry_speeches(self, carried: Mapping[str, float], collector: str, now: datetime) -> None:
        """Say that a collector still carries voices, with the seconds sent of each."""

        def work(connection: Connection) -> None:
            time = _moment(connection, now)
            # In one order, so that two transactions never wait for each other.
            for broadcast, seconds in sorted(carried.items()):
                mine = (speeches.c.broadcast == broadcast) & (speeches.c.collector == collector)
                connection.execute(
                    update(speeches).where(mine, speeches.c.ended.is_(None)).values(heard=time, seconds=seconds)
                )

        self._database.write_beside(work)

    def cuts(self, wanted: Collection[str]) -> dict[str, str]:
        """Return why voices are to end, or have ended; those that may go on are left out."""
        query = select(speeches.c.broadcast, speeches.c.cut, speeches.c.ended, speeches.c.reason).where(
            speeches.c.broadcast.in_(wanted), or_(speeches.c.cut != "", speeches.c.ended.is_not(None))
        )
        with self._database.read() as connection:
            return {row.broadcast: row.cut or row.reason or "it is over" for row in connection.execute(query)}

    def cut_speeches(self, wanted: Collection[str], reason: str) -> None:
        """Let voices end soon, wherever they are carried."""
        if wanted:
            mine = speeches.c.broadcast.in_(wanted) & speeches.c.ended.is_(None) & (speeches.c.cut == "")
            self._database.write(lambda connection: connection.execute(update(speeches).where(mine).values(cut=reason)))

    def withdraw_speech(self, broadcast: str, reason: str, now: datetime) -> None:
        """Let a voice end soon, and one that has not begun never begin; one that is unknown or over stays as it is."""

        def work(connection: Connection) -> None:
            mine = (speeches.c.broadcast == broadcast) & speeches.c.ended.is_(None)
            connection.execute(update(speeches).where(mine, speeches.c.cut == "").values(cut=reason))
            idle = mine & speeches.c.collector.is_(None)
            connection.execute(
                update(speeches).where(idle).values(ended=_moment(connection, now), reason=speeches.c.cut)
            )

        self._database.write(work)

    def end_speech(self, broadcast: str, reason: str, seconds: float, now: datetime) -> None:
        """Keep how a voice ended, and that nobody is sent its broadcast from now on."""

        def work(connection: Connection) -> None:
            mine = (speeches.c.broadcast == broadcast) & speeches.c.ended.is_(None)
            values = {"ended": _moment(connection, now), "reason": reason, "seconds": seconds}
            connection.execute(update(speeches).where(mine).values(values))
            _end_broadcast(connection, broadcast, now)

        self._database.write(work)

    def end_lost_speeches(self, now: datetime, silence: timedelta | None, reason: str) -> list[SpeechRecord]:
        """End voices that did not begin in time, and those whose collector said nothing for `silence`; return the latter.

        Each is returned to one collector only. With `silence` None no collector is ever lost.
        """

        def lost(time: datetime) -> ColumnElement[bool]:
            late = speeches.c.collector.is_(None) & (speeches.c.until < time)
            silent = speeches.c.collector.is_not(None) & (speeches.c.heard < time - (silence or timedelta(0)))
            return speeches.c.ended.is_(None) & (late if silence is None else or_(late, silent))

        with self._database.read() as connection:
            query = select(speeches.c.broadcast).where(lost(_moment(connection, now)))
            if connection.execute(query).first() is None:
                return []
        return self._database.write(lambda connection: _end(connection, lost(_moment(connection, now)), reason, now))

    def end_speeches_of(self, collector: str, now: datetime, reason: str) -> list[SpeechRecord]:
        """End the voices that a collector carried; return them."""
        mine = speeches.c.ended.is_(None) & (speeches.c.collector == collector)
        return self._database.write(lambda connection: _end(connection, mine, reason, now))

    def speech(self, broadcast: str) -> SpeechRecord | None:
        """Return a live voice, over or not."""
        with self._database.read() as connection:
            row = connection.execute(select(speeches).where(speeches.c.broadcast == broadcast)).one_or_none()
        return None if row is None else _record(row)

    def forget_speeches(self) -> None:
        """Forget voices whose broadcasts are forgotten."""
        kept = select(broadcasts.c.id).where(broadcasts.c.id == speeches.c.broadcast)
        statement = delete(speeches).where(speeches.c.ended.is_not(None), ~kept.exists())
        self._database.write(lambda connection: connection.execute(statement))


def _moment(connection: Connection, now: datetime) -> datetime:
    if connection.dialect.name != "postgresql":
        return now
    time: datetime = connection.scalar(select(func.clock_timestamp()))  # type: ignore[assignment]
    return time


def _end(connection: Connection, which: ColumnElement[bool], reason: str, now: datetime) -> list[SpeechRecord]:
    found = [_record(row) for row in connection.execute(select(speeches).where(which))]
    time, broken = _moment(connection, now), []
    for one in found:
        why = NOBODY_SPOKE if one.collector is None else reason
        mine = speeches.c.broadcast == one.broadcast
        connection.execute(update(speeches).where(mine).values(ended=time, reason=one.cut or why))
        _end_broadcast(connection, one.broadcast, now)
        if one.collector is not None:
            broken.append(one._replace(ended=time, reason=one.cut or why))
    return broken


def _end_broadcast(connection: Connection, broadcast: str, now: datetime) -> None:
    mine = (broadcasts.c.id == broadcast) & (broadcasts.c.end > now)
    connection.execute(update(broadcasts).where(mine).values(end=now, revision=broadcasts.c.revision + 1))


def _document(targets: Sequence[Placed]) -> dict[str, Any]:
    return {
        "targets": [
            {"target": placed.target.model_dump(mode="json", exclude_defaults=True), "area": placed.area}
            for placed in targets
        ]
    }


def _record(row: Row[Any]) -> SpeechRecord:
    targets = tuple(Placed(Target.model_validate(one["target"]), one["area"]) for one in row.targets["targets"])
    return SpeechRecord(
        row.broadcast,
        row.person,
        row.rank,
        row.title,
        targets,
        row.key,
        row.collector,
        row.seconds,
        row.cut,
        row.ended,
        row.reason,
    )
