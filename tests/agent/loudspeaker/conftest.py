"""Boxes with programmes, in one folder one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.loudspeaker.programmes import DUE, Box


@pytest.fixture
async def boxes(tmp_path: Path) -> AsyncIterator[Callable[..., Box]]:
    made: list[Box] = []

    def make(now: datetime = DUE - timedelta(hours=1), devices: Iterable[str] = ("speaker",)) -> Box:
        made.append(Box(tmp_path, now, devices))
        return made[-1]

    yield make
    for box in made:
        await box.close()
