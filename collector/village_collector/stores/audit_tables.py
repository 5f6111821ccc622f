"""Tables of the audit log."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from village_collector.stores.columns import Time, Words, metadata

#: The audit log: `entry` are the exact bytes (canonical JSON) under `hash`; the other columns are for searching and prove nothing.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("actor", Words, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
Index("audit_by_time", audit_entries.c.time)
Index("audit_by_actor", audit_entries.c.actor)

#: Signatures over the hash of an entry, and so over all before it.
audit_seals = Table(
    "audit_seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
