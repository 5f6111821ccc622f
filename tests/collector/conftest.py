"""A control store on a real file, and one on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.postgres import PASSWORD, PostgresServer, postgres_server
from village_collector.stores.control import ControlStore


@pytest.fixture
def control(sqlite_control: ControlStore) -> ControlStore:
    return sqlite_control


@pytest.fixture
def sqlite_control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    yield store
    store.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres_control(postgres: PostgresServer) -> Iterator[ControlStore]:
    store = ControlStore(postgres.make_database(), PASSWORD)
    store.open()
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def each_control(request: pytest.FixtureRequest) -> ControlStore:
    """Both, one after the other: for tests of what the statements mean. A module takes it as its `control`."""
    store: ControlStore = request.getfixturevalue(
        "postgres_control" if request.param == "postgresql" else "sqlite_control"
    )
    return store
