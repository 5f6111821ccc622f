"""What stores promise holds on both databases."""

from __future__ import annotations

import pytest

from village_collector.stores.control import ControlStore


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control
