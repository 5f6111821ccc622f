"""Guards of the camera tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.processes import children
from tests.peers import peer


@pytest.fixture(autouse=True)
def _ffmpeg() -> None:
    peer("ffmpeg")


@pytest.fixture(autouse=True)
def _no_child_left() -> Iterator[None]:
    before = children()
    yield
    assert not children(before)
