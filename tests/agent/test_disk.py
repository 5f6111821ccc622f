"""The disk thread: what was handed over is done."""

from __future__ import annotations

import asyncio
import threading

import pytest

from village_agent.disk import DiskThread


async def test_work_that_waits_is_done_though_its_caller_is_cancelled() -> None:
    disk = DiskThread()
    release = threading.Event()
    done: list[int] = []
    first = asyncio.create_task(disk.run(lambda: release.wait(5)))
    second = asyncio.create_task(disk.run(lambda: done.append(2)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    release.set()
    await first
    await disk.close()
    assert done == [2]


async def test_an_error_reaches_the_caller() -> None:
    disk = DiskThread()
    with pytest.raises(ZeroDivisionError):
        await disk.run(lambda: 1 // 0)
    await disk.close()
