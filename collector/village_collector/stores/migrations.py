"""Brings the tables of an earlier version up to date, in the transaction that finds them. Portable SQL: SQLite and PostgreSQL.

A step adds what is missing and takes nothing away, so that a collector of the version before, which shares the database while another one
is replaced, goes on working. Whole tables need no step: those that are not there are made after the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Column, Connection, text, update

from village_collector.stores.broadcast_tables import broadcast_targets
from village_collector.stores.schema import SCHEMA_VERSION, schema_version
from village_collector.stores.tables import devices

Step = Callable[[Connection], None]


def migrate(connection: Connection, found: int) -> None:
    """Bring a database from version `found` to `SCHEMA_VERSION`. The caller's transaction makes it all or nothing."""
    for version in range(found, SCHEMA_VERSION):
        STEPS[version](connection)
    if found < SCHEMA_VERSION:
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))


def add_column(connection: Connection, column: Column[str]) -> None:
    """Add a column with its `server_default` to a table that is there."""
    preparer = connection.dialect.identifier_preparer
    kind = column.type.compile(connection.dialect)
    default = column.server_default.arg  # type: ignore[union-attr]  # Without one old rows could not have it.
    connection.execute(
        text(
            f"ALTER TABLE {preparer.format_table(column.table)} ADD COLUMN {preparer.format_column(column)} {kind}"
            f" DEFAULT '{default}' NOT NULL"
        )
    )


def _add_tags(connection: Connection) -> None:
    add_column(connection, devices.c.tags)
    add_column(connection, broadcast_targets.c.tags)
    add_column(connection, broadcast_targets.c.without)


#: Version -> what makes it the next one.
STEPS: Mapping[int, Step] = {1: _add_tags}
