"""Guards for every test: no blocking call in the event loop, no task left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[BlockBuster]:
    with blockbuster_ctx(["village_agent", "village_collector", "village_drivers", "village_wire"]) as guard:
        yield guard


@pytest_asyncio.fixture(autouse=True)
async def _no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    # This half of the fixture runs in a task of its own.
    left = [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    assert not left, f"tasks left behind: {[task.get_name() for task in left]}"
