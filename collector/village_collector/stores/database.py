"""The control store's database: connections, transactions and the schema's version."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from village_collector.ports import StoreUnavailable
from village_collector.stores.columns import metadata
from village_collector.stores.migrations import migrate
from village_collector.stores.schema import SCHEMA_VERSION, schema_version

_T = TypeVar("_T")

#: Another program on the same database may insert the same new row in the same moment; then the second try sees it.
_TRIES = 3
#: Longer than any transaction of ours; beyond it another program holds the database.
_BUSY_MS = 10_000
#: The lock that writers of a PostgreSQL database take in turn: "village".
_WRITERS = 0x76_69_6C_6C_61_67_65
#: A collector whose machine vanished in the middle of a transaction must not hold up the others for the two hours that TCP takes.
_POSTGRES_OPTIONS = f"-c lock_timeout={_BUSY_MS} -c idle_in_transaction_session_timeout={_BUSY_MS}"
#: And a server that vanished is noticed in half a minute.
_POSTGRES_LINK = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
_NO_RIGHT = "42501"
#: Rows per statement with many parameters; SQLite takes 32,766 parameters, older builds 999.
CHUNK = 300


class SchemaTooNew(StoreUnavailable):
    """A newer version of this program wrote the database; only a person can help."""


class Database:
    """One database, given by an SQLAlchemy URL such as `sqlite:////var/lib/village/control.db`. Safe to use from many threads.

    One writer works at a time, whatever the database and however many collectors share it. So events become visible in the order of
    their numbers, and whoever follows them misses none. `write_beside` is for what has no such order.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        """Raises `ValueError` for a text that is no URL of an SQLite or PostgreSQL database."""
        self._url = _database_url(url, password)
        self._engine: Engine | None = None
        # SQLite lets a writer that finds another one at work sleep and try again; a lock hands over at once, in turn.
        self._writing = threading.Lock() if self._is_sqlite else nullcontext()

    @property
    def shared(self) -> bool:
        """Whether other collectors may write to it too."""
        return not self._is_sqlite

    def __str__(self) -> str:
        return f"control store {self._url.render_as_string(hide_password=True)}"

    def open(self) -> None:
        """Connect and make the tables, or bring those of an earlier version up to date.

        Raises:
            SchemaTooNew: a newer version of this program wrote it.
            StoreUnavailable: it can't be reached.
        """
        # Without hidden parameters an error text would carry credentials from events.
        if self._is_sqlite:
            engine = create_engine(self._url, hide_parameters=True)
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            link = {"options": _POSTGRES_OPTIONS, **_POSTGRES_LINK}
            try:
                engine = create_engine(self._url, hide_parameters=True, pool_pre_ping=True, connect_args=link)
            except ImportError:
                raise StoreUnavailable(f"{self}: psycopg is not installed; install village-edge[postgres]") from None
            event.listen(engine, "begin", _begin_postgres)
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
            if not self._is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
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

    def write_beside(self, work: Callable[[Connection], _T]) -> _T:
        """As `write`, but on PostgreSQL without waiting for other writers, and without any waiting for it.

        Raises:
            StoreUnavailable: nothing of it was stored.
        """
        if self._is_sqlite:
            return self.write(work)
        with self._translated():
            return self._write_once(work, in_turn=False)

    def _write_once(self, work: Callable[[Connection], _T], *, in_turn: bool = True) -> _T:
        with self._live_engine.connect().execution_options(village_write=in_turn) as connection, connection.begin():
            return work(connection)

    def _make_tables(self, connection: Connection) -> None:
        found = None
        if inspect(connection).has_table(schema_version.name):
            found = connection.scalar(select(schema_version.c.version))
        if found is None:
            metadata.create_all(connection)
            connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
            return
        if found > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"{self} has schema version {found}; this program knows versions up to {SCHEMA_VERSION}: use a newer program"
            )
        migrate(connection, found)
        metadata.create_all(connection)

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
        except DBAPIError as error:
            if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", None) != _NO_RIGHT:
                raise
            raise StoreUnavailable(f"{self}: {_reason(error)}; check the disk or the database server") from None
        except PoolTimeout as error:
            raise StoreUnavailable(f"{self}: too many requests at once") from error


def _database_url(text: str, password: str | None) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("not a database URL; one looks like sqlite:////path/control.db") from None
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise ValueError("a database URL starts with sqlite:/// or postgresql://")
    return url if password is None else url.set(password=password)


def _reason(error: DBAPIError) -> str:
    # PostgreSQL's whole text would show the contents of the row that it refuses.
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    return " ".join(str(primary or error.orig).split())


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get("village_write", False):
        connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The module's own transactions begin too late: after the reads on which a write depends.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("village_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
