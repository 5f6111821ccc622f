"""Numbers by name in the control store, by which collectors notice what another one changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from village_collector.stores.tables import counters


def read_counter(connection: Connection, name: str, first: int = 0) -> int:
    """Return a number, `first` if it was never set."""
    return connection.scalar(select(counters.c.value).where(counters.c.name == name)) or first


def count_up(connection: Connection, name: str) -> None:
    """Raise a number by one; the first time it becomes 1."""
    _set(connection, name, counters.c.value + 1, 1)


def set_counter(connection: Connection, name: str, value: int) -> None:
    """Set a number."""
    _set(connection, name, value, value)


def _set(connection: Connection, name: str, value: Any, first: int) -> None:
    change = update(counters).where(counters.c.name == name).values(value=value)
    if connection.execute(change).rowcount == 0:
        connection.execute(insert(counters).values(name=name, value=first))
