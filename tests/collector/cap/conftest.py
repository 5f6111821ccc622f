"""One collector for every test of alerts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.cap.site import Site
from tests.collector.kit import add_site
from village_collector.stores.control import ControlStore


@pytest.fixture
def site(each_control: ControlStore, tmp_path: Path) -> Site:
    """On both databases, one after the other."""
    add_site(each_control)
    return Site(each_control, tmp_path / "audio")
