"""How long each loudspeaker was heard with what, by month: from receipts alone.

Only the last receipt of a broadcast on a loudspeaker says how long it was heard, and each event is stored once, so sums are enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, false, func, insert, or_, select, tuple_, update

from village_collector.stores.broadcast_tables import publicity
from village_collector.stores.control_reads import Scope
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.receivers import has_one_of
from village_collector.stores.tables import agents, devices
from village_wire.areas import prefix
from village_wire.broadcasts import FINAL, LOUDSPEAKER_ABILITIES
from village_wire.events import Event, Receipt
from village_wire.recurrence import ZONE

_ZONE = ZoneInfo(ZONE)


def month_of(moment: datetime) -> str:
    """Return the month of a moment by China's time, as `2026-11`."""
    return f"{moment.astimezone(_ZONE):%Y-%m}"


class Heard(NamedTuple):
    """What one loudspeaker was heard with in a month."""

    area: str
    agent: str
    device: str
    category: str
    seconds: float
    plays: int


class PublicityRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def publicity(self, month: str, area: str | None, scope: Scope) -> list[Heard]:
        """What was heard in a month (`2026-11`) in an area and below, by area, loudspeaker and category; `scope` as for reads."""
        columns = (
            publicity.c.area,
            publicity.c.agent,
            publicity.c.device,
            publicity.c.category,
            publicity.c.seconds,
            publicity.c.plays,
        )
        query = select(*columns).where(publicity.c.month == month).order_by(*columns[:4])
        for wanted in ((area,) if area else None), scope:
            if wanted is not None:
                inside = [publicity.c.area.startswith(prefix(code), autoescape=True) for code in wanted]
                query = query.where(or_(false(), *inside))
        with self._database.read() as connection:
            return [Heard(*row) for row in connection.execute(query)]

    def loudspeakers_by_area(self, area: str | None, scope: Scope) -> dict[str, set[tuple[str, str]]]:
        """The loudspeakers (agent, device) of today's inventories by the areas of their agents."""
        query = select(agents.c.area, devices.c.agent, devices.c.device).join(agents, agents.c.agent == devices.c.agent)
        query = query.where(devices.c.removed.is_(None), has_one_of(LOUDSPEAKER_ABILITIES))
        for wanted in ((area,) if area else None), scope:
            if wanted is not None:
                inside = [agents.c.area.startswith(prefix(code), autoescape=True) for code in wanted]
                query = query.where(or_(false(), *inside))
        found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.area].add((row.agent, row.device))
        return dict(found)

    def publicity_months(self) -> list[str]:
        """Months of which something is known, the newest first."""
        with self._database.read() as connection:
            query = select(publicity.c.month).group_by(publicity.c.month).order_by(func.max(publicity.c.month).desc())
            return list(connection.scalars(query))


def merge_publicity(connection: Connection, news: Sequence[tuple[str, str, Event]]) -> None:
    """Count events that were never stored before: agent, its area, and the event."""
    sums: defaultdict[tuple[str, str, str, str, str], list[float]] = defaultdict(lambda: [0.0, 0])
    for agent, area, event in news:
        data = event.data
        if isinstance(data, Receipt) and event.device and data.category and data.heard and data.stage in FINAL:
            month = month_of(event.time)
            entry = sums[month, area, agent, event.device, data.category]
            entry[0] += data.heard
            entry[1] += 1
    if not sums:
        return
    names = ("month", "area", "agent", "device", "category")
    columns = [publicity.c[name] for name in names]
    known: set[tuple[str, ...]] = set()
    for part in chunks(sums, 100):
        known.update(tuple(row) for row in connection.execute(select(*columns).where(tuple_(*columns).in_(part))))
    added = []
    for key, (seconds, plays) in sums.items():
        if key in known:
            where = [column == value for column, value in zip(columns, key, strict=True)]
            more = {"seconds": publicity.c.seconds + seconds, "plays": publicity.c.plays + int(plays)}
            connection.execute(update(publicity).where(*where).values(more))
        else:
            added.append({**dict(zip(names, key, strict=True)), "seconds": seconds, "plays": int(plays)})
    if added:
        connection.execute(insert(publicity), added)
