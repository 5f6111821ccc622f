"""A collector and the program for every test of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.collector import Collector, Village, serve


@pytest.fixture
def collector() -> Iterator[Collector]:
    with serve() as running:
        yield running


@pytest.fixture
def village(collector: Collector) -> Village:
    return Village(collector.url)
