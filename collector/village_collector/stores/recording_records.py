"""Recordings of live voices in a control store that several collectors share, written while somebody speaks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, delete, func, insert, select

from village_collector.stores.broadcast_tables import broadcasts
from village_collector.stores.database import Database
from village_collector.stores.sound_tables import recording_parts

#: Removed in one transaction.
_REMOVED_AT_ONCE = 50


class RecordingRecords:
    """All methods block and raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recorded_bytes(self, broadcast: str) -> int:
        """How much of a recording is here, from its beginning."""
        query = select(func.max(recording_parts.c.end)).where(recording_parts.c.broadcast == broadcast)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def add_recorded(self, broadcast: str, begin: int, content: bytes) -> None:
        """Keep what comes at `begin`, which is `recorded_bytes`."""
        row = {"broadcast": broadcast, "begin": begin, "end": begin + len(content), "content": content}
        self._database.write_beside(lambda connection: connection.execute(insert(recording_parts).values(row)))

    def recorded(self, broadcast: str) -> Iterator[bytes]:
        """Yield what is here of a recording."""
        at = 0
        while True:
            mine = (recording_parts.c.broadcast == broadcast) & (recording_parts.c.begin == at)
            with self._database.read() as connection:
                content = connection.scalar(select(recording_parts.c.content).where(mine))
            if not content:
                return
            yield bytes(content)
            at += len(content)

    def forget_recorded(self) -> None:
        """Remove recordings of broadcasts that are forgotten."""
        kept = select(broadcasts.c.id).where(broadcasts.c.id == recording_parts.c.broadcast)
        query = select(recording_parts.c.broadcast).where(~kept.exists()).limit(_REMOVED_AT_ONCE)
        oldest = (
            select(recording_parts.c.broadcast, recording_parts.c.begin).where(~kept.exists()).limit(_REMOVED_AT_ONCE)
        )

        def work(connection: Connection) -> None:
            for row in connection.execute(oldest).all():
                mine = (recording_parts.c.broadcast == row.broadcast) & (recording_parts.c.begin == row.begin)
                connection.execute(delete(recording_parts).where(mine))

        while True:
            with self._database.read() as connection:
                if connection.execute(query).first() is None:
                    return
            self._database.write(work)
