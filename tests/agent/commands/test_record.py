"""Commands in memory while the disk takes no record of them, and their way into the table."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar
from uuid import uuid4

from tests.agent.kit import now_ms
from village_agent.commands.record import CommandRecord
from village_agent.disk import DiskThread
from village_agent.report import make_event
from village_wire.commands import Command, SwitchTo, Target
from village_wire.events import CommandResult

_T = TypeVar("_T")


class SlowDisk(DiskThread):
    """Lets others run before whoever wrote a command hears that it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = asyncio.Event()
        self.written = asyncio.Event()

    async def run(self, work: Callable[[], _T]) -> _T:
        result = await super().run(work)
        if isinstance(work, functools.partial) and work.func.__name__ == "_write":
            self.writing.set()
            await self.written.wait()
        return result


async def test_a_result_that_comes_while_the_disk_catches_up_is_recorded(tmp_path: Path) -> None:
    disk = SlowDisk()
    path = tmp_path / "commands.db"
    path.mkdir()
    record = CommandRecord(path, disk)
    try:
        assert not await record.open()
        now = datetime.now(UTC)
        target = Target(agent="box", device="relay")
        command = Command(
            id=uuid4(),
            target=target,
            arguments=SwitchTo(on=True),
            issuer="test",
            issued=now,
            expires=now + timedelta(seconds=60),
        )
        outcomes: list[Literal["accepted", "done"]] = ["accepted", "done"]
        accepted, done = (
            make_event("relay", CommandResult(command=command.id, outcome=outcome), now_ms() * 10**6)
            for outcome in outcomes
        )
        await record.add(command, [accepted], now)
        path.rmdir()
        opening = asyncio.create_task(record.open())
        async with asyncio.timeout(5):
            await disk.writing.wait()
        await record.finish(done)
        disk.written.set()
        assert await opening
        assert await record.known_results(command.id) == [done]
        assert await record.unfinished() == []
    finally:
        disk.written.set()
        await record.close()
        await disk.close()
