"""Sound files in a control store that several collectors share, in parts that hold nobody up.

A file counts once its row is there, which is written last. Parts are added beside the turns of other writers; the row, and what takes
anything away, in turn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from village_collector.stores.database import Database
from village_collector.stores.sound_tables import audio_files, audio_parts
from village_wire.broadcasts import Audio

#: Some milliseconds of a disk, and of a collector's memory.
PART_BYTES = 256 * 1024
#: Who takes a file in or means to broadcast it says so again after this; otherwise each would cost a write.
_FRESH = timedelta(minutes=10)
#: Removed in one transaction: 5 MB.
_REMOVED_AT_ONCE = 20


class Incomplete(Exception):
    """Parts of the file were removed while it was written; writing it again helps."""


class StoredAudio(NamedTuple):
    """A file and when it was last wanted."""

    audio: Audio
    used: datetime


class AudioRecords:
    """All methods block and raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def audio_file(self, sha256: str) -> Audio | None:
        """Return a file that is there as a whole."""
        found = self._audio_file(sha256)
        return None if found is None else found.audio

    def use_audio(self, sha256: str, now: datetime) -> Audio | None:
        """Return a file that is there, and see to it that it stays for a while."""
        found = self._audio_file(sha256)
        if found is None or found.used > now - _FRESH:
            return None if found is None else found.audio
        statement = update(audio_files).where(audio_files.c.sha256 == sha256).values(used=now)
        taken = self._database.write(lambda connection: connection.execute(statement).rowcount)
        return found.audio if taken else None

    def add_audio_parts(self, sha256: str, parts: Iterable[bytes], now: datetime) -> None:
        """Keep the bytes of a file, all parts but the last of `PART_BYTES`; those that are there already stay."""
        for number, content in enumerate(parts):
            row = {"sha256": sha256, "number": number, "added": now, "content": content}
            self._database.write_beside(lambda connection, row=row: _add_part(connection, row))  # type: ignore[misc]

    def add_audio(self, audio: Audio, now: datetime) -> Audio:
        """Let a file count of which all parts were added; return it as it is kept, with the token of whoever was first.

        Raises:
            Incomplete: parts of it are missing.
        """

        def work(connection: Connection) -> Audio:
            known = connection.execute(select(audio_files).where(audio_files.c.sha256 == audio.sha256)).one_or_none()
            if known is not None:
                return Audio(sha256=known.sha256, bytes=known.bytes, seconds=known.seconds, token=known.token)
            length = func.sum(func.length(audio_parts.c.content))
            if connection.scalar(select(length).where(audio_parts.c.sha256 == audio.sha256)) != audio.bytes:
                raise Incomplete(audio.sha256)
            connection.execute(insert(audio_files).values(**audio.model_dump(), used=now))
            return audio

        return self._database.write(work)

    def audio_content(self, sha256: str) -> Iterator[bytes]:
        """Yield the bytes of a file, part by part; fewer than it has if it is forgotten meanwhile."""
        number = 0
        while True:
            mine = (audio_parts.c.sha256 == sha256) & (audio_parts.c.number == number)
            with self._database.read() as connection:
                content = connection.scalar(select(audio_parts.c.content).where(mine))
            if content is None:
                return
            yield bytes(content)
            number += 1

    def audio_bytes(self) -> int:
        """How much all files have together."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.coalesce(func.sum(audio_files.c.bytes), 0))) or 0)

    def unused_audio(self, needed: Collection[str], before: datetime) -> list[Audio]:
        """Files that nobody needs or wanted since that time, those that were wanted longest ago first."""
        query = select(audio_files).where(audio_files.c.used < before).order_by(audio_files.c.used)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Audio(sha256=row.sha256, bytes=row.bytes, seconds=row.seconds, token=row.token)
            for row in rows
            if row.sha256 not in needed
        ]

    def forget_audio(self, sha256: str, before: datetime) -> bool:
        """Forget a file unless somebody wanted it since that time; tell whether it is gone. Its parts go with `remove_audio_parts`."""
        statement = delete(audio_files).where(audio_files.c.sha256 == sha256, audio_files.c.used < before)
        return bool(self._database.write(lambda connection: connection.execute(statement).rowcount))

    def remove_audio_parts(self, before: datetime) -> int:
        """Remove parts of files that are not there, if they were added before that time; return how many."""
        whole = select(audio_files.c.sha256).where(audio_files.c.sha256 == audio_parts.c.sha256)
        query = (
            select(audio_parts.c.sha256, audio_parts.c.number)
            .where(audio_parts.c.added < before, ~whole.exists())
            .limit(_REMOVED_AT_ONCE)
        )

        def work(connection: Connection) -> int:
            rows = connection.execute(query).all()
            for row in rows:
                mine = (audio_parts.c.sha256 == row.sha256) & (audio_parts.c.number == row.number)
                connection.execute(delete(audio_parts).where(mine))
            return len(rows)

        removed = 0
        while True:
            # Looked for outside of a turn first: there is nothing to remove nearly always.
            with self._database.read() as connection:
                if connection.execute(query).first() is None:
                    return removed
            removed += self._database.write(work)

    def _audio_file(self, sha256: str) -> StoredAudio | None:
        with self._database.read() as connection:
            row = connection.execute(select(audio_files).where(audio_files.c.sha256 == sha256)).one_or_none()
        if row is None:
            return None
        return StoredAudio(Audio(sha256=row.sha256, bytes=row.bytes, seconds=row.seconds, token=row.token), row.used)


def _add_part(connection: Connection, row: dict[str, object]) -> None:
    # Two collectors may take the same sound in at once, and the bytes are the same.
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(audio_parts).values(row).on_conflict_do_nothing())
