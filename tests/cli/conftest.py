"""A collector and the program for every test of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.collector import Collector, Village, serve
from tests.cli.desk import NAMES, Desk
from village_cli.pinning import fingerprint
from village_collector.trust.authority import Authority, load_authority


@pytest.fixture
def collector() -> Iterator[Collector]:
    with serve() as running:
        yield running


@pytest.fixture
def village(collector: Collector) -> Village:
    return Village(collector.url)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return load_authority(tmp_path_factory.mktemp("authority"), make=True)


@pytest.fixture
def digits(authority: Authority) -> str:
    """The fingerprint of the authority."""
    return fingerprint(authority.certificate_pem)


@pytest.fixture
def secure(authority: Authority) -> Iterator[Collector]:
    """A collector over TLS that shows its authority and lets `li` in."""
    with serve(authority.issue_server(NAMES, datetime.now(UTC))) as running:
        running.lets_in(authority.certificate_pem)
        yield running


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A user with a configuration folder of their own."""
    return Desk(tmp_path)
