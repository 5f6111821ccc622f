"""The times of programmes. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from village_agent.loudspeaker.schedules import Known
from village_wire.commands import Broadcast, Target
from village_wire.recurrence import InvalidRecurrence
from village_wire.schedules import Programme, occurrence_id

_log = logging.getLogger(__name__)


class Occurrence(NamedTuple):
    """A programme at one of its times."""

    due: float
    target: Target
    programme: Programme

    @property
    def id(self) -> UUID:
        """That of its first piece, which stands for all."""
        return self.piece(0)

    def piece(self, item: int) -> UUID:
        """The broadcast id of a piece."""
        return occurrence_id(self.target, self.programme.id, datetime.fromtimestamp(self.due, UTC), item)

    def broadcasts(self) -> list[tuple[UUID, Broadcast]]:
        """What is handed to a loudspeaker, in its order. Only the first piece has a chime."""
        programme = self.programme
        start = datetime.fromtimestamp(self.due, UTC)
        end = start + timedelta(seconds=programme.max_seconds)
        return [
            (
                self.piece(number),
                Broadcast(
                    rank=programme.rank,
                    title=programme.title,
                    text=item.text,
                    audio=item.audio,
                    track=item.track,
                    start=start,
                    end=end,
                    volume=programme.volume,
                    chime=programme.chime and number == 0,
                    category=programme.category,
                ),
            )
            for number, item in enumerate(programme.items)
        ]

    @property
    def end(self) -> float:
        """When it is over at the latest."""
        return self.due + self.programme.max_seconds


def plan(schedules: Iterable[Known], begin: float, end: float) -> list[Occurrence]:
    """Return all times in [begin, end), in their order; a schedule has none from before it came. Pure."""
    first, last = (datetime.fromtimestamp(time, UTC) for time in (begin, end))
    found = [
        Occurrence(due.timestamp(), known.schedule.target, programme)
        for known in schedules
        for programme in known.schedule.programmes
        for due in _times(programme, first, last)
        if due.timestamp() >= known.received
    ]
    return sorted(found, key=lambda one: (one.due, one.programme.id))


def _times(programme: Programme, first: datetime, last: datetime) -> list[datetime]:
    try:
        return programme.when.between(first, last)
    except InvalidRecurrence as error:
        _log.error("programme %s is not played: %s; install tzdata", programme.id, error)
        return []
