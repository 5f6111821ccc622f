"""A control store on a real file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from village_collector.stores.control import ControlStore


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    yield store
    store.close()
