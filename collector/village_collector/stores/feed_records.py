"""Feeds of alerts in the control store: when each was last heard, and which are quiet."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, insert, or_, select, update

from village_collector.stores.cap_tables import cap_feeds
from village_collector.stores.database import Database


class FeedRecord(NamedTuple):
    """What is known of a feed; see the table."""

    heard: datetime | None
    quiet: datetime | None
    alarmed: datetime | None


class FeedRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def feeds(self) -> dict[str, FeedRecord]:
        """What is known of each feed."""
        query = select(cap_feeds.c.feed, cap_feeds.c.heard, cap_feeds.c.quiet, cap_feeds.c.alarmed)
        with self._database.read() as connection:
            return {row.feed: FeedRecord(row.heard, row.quiet, row.alarmed) for row in connection.execute(query)}

    def mark_feed(self, feed: str, quiet: datetime | None, alarmed: datetime | None) -> None:
        """Keep since when a feed is quiet, and when its alarm was last switched on; None when it is not."""

        def work(connection: Connection) -> None:
            values = {"quiet": quiet, "alarmed": alarmed}
            if not connection.execute(update(cap_feeds).where(cap_feeds.c.feed == feed).values(values)).rowcount:
                connection.execute(insert(cap_feeds).values(feed=feed, **values))

        self._database.write(work)


def hear(connection: Connection, feed: str, sent: datetime, now: datetime) -> None:
    """Keep that a message of a feed came `now` that bears the time `sent`."""
    # What was sent before the last message was kept by somebody: it shows no life. A clock that is ahead must not make later ones look so.
    sent = min(sent, now)
    values = {"heard": now, "sent": sent}
    known = connection.scalar(select(cap_feeds.c.feed).where(cap_feeds.c.feed == feed))
    if known is None:
        connection.execute(insert(cap_feeds).values(feed=feed, **values))
        return
    newer = or_(cap_feeds.c.sent.is_(None), cap_feeds.c.sent < sent)
    connection.execute(update(cap_feeds).where(cap_feeds.c.feed == feed, newer).values(values))
