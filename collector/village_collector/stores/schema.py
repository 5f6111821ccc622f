"""The whole schema of the control store: whoever imports this has all its tables in `metadata`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table

from village_collector.stores import (  # noqa: F401
    audit_tables,
    broadcast_tables,
    cap_tables,
    identity_tables,
    people_tables,
    sound_tables,
    tables,
)
from village_collector.stores.columns import metadata

#: Raised with every change of a table that is there; `migrations` then has a step from the version before.
SCHEMA_VERSION = 2

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))
