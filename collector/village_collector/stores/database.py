"""The control store's database: connections, transactions and the schema's version."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from village_collector.ports import StoreUnavailable
from village_collector.stores.tables import SCHEMA_VERSION, metadata, schema_version

_T = TypeVar("_T")

#: Another collector on the same database may insert the same new row in the same moment; then the second try sees it.
_TRIES = 3
#: Longer than any transaction of ours; beyond it another program holds the file.
_BUSY_MS = 10_000
#: Rows per statement with many parameters; SQLite takes 32,766 parameters, older builds 999.
CHUNK = 300


class SchemaTooNew(StoreUnavailable):
    """A newer version of this program wrote the database; only a person can help."""


class Database:
    """One database, given by an SQLAlchemy URL such as `sqlite:////var/lib/village/control.db`. Safe to use from many threads."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` for a text that is no database URL."""
        try:
            self._url = make_url(url)
        except ArgumentError:
            raise ValueError("not a database URL; one looks like sqlite:////path/control.db") from None
        self._engine: Engine | None = None
        # SQLite lets a writer that finds another one at work sleep and try again; a lock hands over at once, in turn.
        self._writing = threading.Lock() if self._is_sqlite else nullcontext()

    def __str__(self) -> str:
        return f"control store {self._url.render_as_string(hide_password=True)}"

    def open(self) -> None:
        """Connect and make the tables.

        Raises:
            SchemaTooNew: a newer version of this program wrote it.
            StoreUnavailable: it can't be reached.
        """
        # Without hidden parameters an error text would carry credentials from events.
        engine = create_engine(self._url, hide_parameters=True, pool_pre_ping=not self._is_sqlite)
        if self._is_sqlite:
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        self._engine = engine
        try:
            self.write(self._make_tables)
        except StoreUnavailable:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database; raises `StoreUnavailable`."""
        with self._translated(), self._live_engine.connect() as connection:
            yield connection

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` in one transaction and return its answer once that is on disk. `work` may run several times.

        Raises:
            StoreUnavailable: nothing of it was stored.
        """
        with self._translated(), self._writing:
            for _ in range(_TRIES - 1):
                try:
                    return self._write_once(work)
                except IntegrityError:
                    continue
            return self._write_once(work)

    def _write_once(self, work: Callable[[Connection], _T]) -> _T:
        with self._live_engine.connect().execution_options(village_write=True) as connection, connection.begin():
            return work(connection)

    def _make_tables(self, connection: Connection) -> None:
        if inspect(connection).has_table(schema_version.name):
            found = connection.scalar(select(schema_version.c.version)) or 0
            if found > SCHEMA_VERSION:
                raise SchemaTooNew(
                    f"{self} has schema version {found}; this program knows versions up to {SCHEMA_VERSION}: use a newer program"
                )
        metadata.create_all(connection)
        if connection.scalar(select(schema_version.c.version)) is None:
            connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def _live_engine(self) -> Engine:
        if self._engine is None:
            raise StoreUnavailable(f"{self} is not open")
        return self._engine

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ProgrammingError:
            raise
        except DBAPIError as error:
            raise StoreUnavailable(f"{self}: {error.orig}; check the disk or the database server") from error
        except PoolTimeout as error:
            raise StoreUnavailable(f"{self}: too many requests at once") from error


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The module's own transactions begin too late: after the reads on which a write depends.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("village_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
