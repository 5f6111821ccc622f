"""Databases that earlier versions wrote: opened, kept whole, and never left in between."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import make_url

from tests.collector.kit import add_site, at, entry
from tests.peers.postgres import PASSWORD, PostgresServer
from village_collector.stores.control import ControlStore
from village_collector.stores.migrations import STEPS
from village_collector.stores.schema import SCHEMA_VERSION

VERSIONS = Path(__file__).parent / "versions"
OLD = 1
T = TypeVar("T")
ADDED = {"devices": {"tags"}, "broadcast_targets": {"tags", "without"}}


def written_by_version_1(url: str) -> None:
    """Make the tables of version 1 with rows in them."""
    name = make_url(url).get_backend_name()
    ddl = (VERSIONS / f"version_1_{name}.sql").read_text() + (VERSIONS / "version_1_rows.sql").read_text()
    on(url, lambda connection: [connection.execute(text(one.replace(":", "\\:"))) for one in ddl.split(";\n") if one])


def on(url: str, work: Callable[[Connection], T]) -> T:
    parsed = make_url(url)
    engine = create_engine(parsed if parsed.get_backend_name() == "sqlite" else parsed.set(password=PASSWORD))
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def shape(url: str) -> dict[str, dict[str, tuple[str, bool]]]:
    """Every table with its columns: type, and whether they may be NULL."""

    def read(connection: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
        seen = inspect(connection)
        return {
            table: {column["name"]: (str(column["type"]), column["nullable"]) for column in seen.get_columns(table)}
            for table in seen.get_table_names()
        }

    return on(url, read)


def version(url: str) -> int:
    return int(on(url, lambda connection: connection.scalar(text("SELECT version FROM schema_version"))) or 0)


@pytest.fixture(params=["sqlite", "postgresql"])
def make_url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    if request.param == "sqlite":
        number = count(1)
        return lambda: f"sqlite:///{tmp_path / f'{next(number)}.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.make_database


def opened(url: str) -> ControlStore:
    store = ControlStore(url, None if url.startswith("sqlite") else PASSWORD)
    store.open()
    return store


def test_a_filled_database_of_version_1_is_brought_up_to_date(make_url_of: Callable[[], str]) -> None:
    url = make_url_of()
    written_by_version_1(url)
    store = opened(url)
    assert version(url) == SCHEMA_VERSION
    assert store.details()["gate-1", "speaker"] == (("loudspeaker", "file_player"), "", ())
    broadcast = store.broadcast("01a20d03-0000-7000-8000-000000000001")
    assert broadcast is not None
    assert [sent.target.model_dump(exclude_none=True) for sent in broadcast.targets] == [{"area": "441900003000"}]
    (receipt,) = store.broadcast_receipts(broadcast.id)[0]
    assert (receipt.device, receipt.name, receipt.expected) == ("speaker", "村口", True)
    assert [due.agent for due in store.due_agents(at(3600), 10)] == ["gate-1"]
    assert store.newest_event() == 7
    add_site(store, "gate-1", entry("speaker", "loudspeaker", tags=("school",)))
    assert store.details()["gate-1", "speaker"].tags == ("school",)
    store.close()
    opened(url).close()
    assert version(url) == SCHEMA_VERSION


def test_migrated_and_new_databases_have_the_same_tables(make_url_of: Callable[[], str]) -> None:
    old, new = make_url_of(), make_url_of()
    written_by_version_1(old)
    before = shape(old)
    for url in (old, new):
        opened(url).close()
    assert shape(old) == shape(new)
    assert {table: set(shape(old)[table]) - set(columns) for table, columns in before.items()} == {
        table: ADDED.get(table, set()) for table in before
    }


def test_there_is_a_step_from_every_version() -> None:
    assert sorted(STEPS) == list(range(OLD, SCHEMA_VERSION))


#: Opens the database in a child of its own for each number that it reads, and tells how the child ended.
_KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from village_collector.stores.control import ControlStore

for line in iter(sys.stdin.readline, ""):
    left = int(line)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

ControlStore(sys.argv[1], sys.argv[2] or None).open()
"""


def test_a_kill_at_any_statement_leaves_one_version_or_the_other(make_url_of: Callable[[], str]) -> None:
    url = make_url_of()
    written_by_version_1(url)
    old = shape(url)
    password = "" if url.startswith("sqlite") else PASSWORD
    seen = []
    command = [sys.executable, "-c", _KILLED, url, password]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as opener:
        assert opener.stdin is not None
        assert opener.stdout is not None
        for number in count(0):
            opener.stdin.write(f"{number}\n")
            opener.stdin.flush()
            ended = int(opener.stdout.readline())
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
            seen.append(version(url))
            assert seen[-1] == OLD
            assert shape(url) == old
        opener.stdin.close()
    # Before its first statement, in each column, and at the version.
    assert len(seen) > sum(map(len, ADDED.values()))
    assert version(url) == SCHEMA_VERSION
    opened(url).close()
