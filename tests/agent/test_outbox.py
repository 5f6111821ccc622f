"""The outbox: what it took is on disk, whatever kills the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.agent.kit import running, site, until
from village_agent import outbox as module
from village_agent.disk import DiskThread
from village_agent.outbox import Outbox, OutboxUnavailable
from village_agent.outbox_file import ItemClass, Lane
from village_agent.report import make_event
from village_wire.events import ButtonPressed, Receipt

PRESSED = ButtonPressed(action="single")

#: Adds events and lines and, once an event is said to be safe, tells its id.
WRITER = """
import asyncio, sys
from pathlib import Path
from village_agent.disk import DiskThread
from village_agent.outbox import Outbox
from village_agent.report import make_event
from village_wire.events import ButtonPressed

async def main():
    outbox = Outbox(Path(sys.argv[1]), 50_000_000, DiskThread())
    writer = asyncio.create_task(outbox.run())
    async def add(number):
        while True:
            event = make_event("button", ButtonPressed(action="x" * number))
            await outbox.add_events([event])
            print(event.id, flush=True)
    async def read():
        number = 0
        while True:
            for _ in range(50):
                number += 1
                outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
            await asyncio.sleep(0.001)
    await asyncio.gather(read(), *(add(number) for number in range(1, 5)))

asyncio.run(main())
"""


async def test_nothing_that_was_called_safe_is_lost_by_kill_9(tmp_path: Path) -> None:
    safe: list[str] = []
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path / "outbox.db"), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        wanted = len(safe) + 40
        while len(safe) < wanted:
            safe.append((await process.stdout.readline()).decode().strip())
        process.send_signal(signal.SIGKILL)
        safe += [line for line in (await process.stdout.read()).decode().splitlines() if len(line) == 36]
        await process.wait()
    database = sqlite3.connect(tmp_path / "outbox.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = {key for (key,) in database.execute("SELECT key FROM item WHERE key IS NOT NULL")}
    lines = database.execute("SELECT content, count FROM item WHERE class = 2").fetchall()
    database.close()
    assert set(safe) <= found
    assert len(found) <= len(safe) + 5 * 4
    assert lines
    assert all(content.count(b"\n") + 1 == count for content, count in lines)


async def test_readings_are_committed_together_after_about_a_second(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        await parts.events()
        added: list[Lane] = []
        parts.outbox.on_added = added.append
        began = asyncio.get_running_loop().time()
        for number in range(10):
            parts.outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
        assert parts.outbox.waiting == 10
        await until(lambda: added == [Lane.TELEMETRY])
        assert 0.8 < asyncio.get_running_loop().time() - began < 1.6
        batch = await parts.outbox.next_batch(Lane.TELEMETRY, 0)
        assert batch is not None
        assert len(batch.contents) == 1
        assert batch.contents[0].count(b"\n") == 9
        for number in range(module.FLUSH_LINES):
            parts.outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
        began = asyncio.get_running_loop().time()
        await until(lambda: len(added) == 2)
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_what_is_still_in_memory_is_written_at_the_end(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        parts.outbox.add_line(b"switch,agent=box,device=s on=true 1")
        parts.hub.post(None, PRESSED)
    async with site(tmp_path) as parts:
        await parts.events()
        assert parts.outbox.waiting == 2


async def test_receipts_are_a_class_of_their_own_and_events_go_first(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        receipt = make_event("s", Receipt(broadcast=make_event(None, PRESSED).id, stage="started"))
        pressed = make_event("s", PRESSED)
        await parts.outbox.add_events([receipt, pressed, pressed])
        batch = await parts.outbox.next_batch(Lane.EVENT, 0)
        assert batch is not None
        assert [
            str(event.id) in content.decode() for event, content in zip([pressed, receipt], batch.contents, strict=True)
        ]
        again = await parts.outbox.next_batch(Lane.EVENT, 0)
        assert again == batch
        await parts.outbox.remove([], [(batch.id, "not a known agent")])
        assert parts.outbox.waiting == 0
        assert parts.outbox.lost == 2
        losses = await parts.outbox.losses()
        assert [(loss.item_class, loss.reason, loss.count) for loss in losses] == [
            (ItemClass.EVENT, "not a known agent", 1),
            (ItemClass.RECEIPT, "not a known agent", 1),
        ]


async def test_a_disk_that_refuses_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "MAX_UNWRITTEN", 5)
    caplog.set_level(logging.INFO)
    disk = DiskThread()
    folder = tmp_path / "absent"
    outbox = Outbox(folder / "outbox.db", 10_000_000, disk)
    async with running(outbox.run()):
        with pytest.raises(OutboxUnavailable, match="unable to open"):
            await outbox.add_events([make_event(None, PRESSED)])
        for number in range(20):
            outbox.post_event(make_event(None, PRESSED))
            outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
        with pytest.raises(OutboxUnavailable):
            await outbox.add_events([])
        with pytest.raises(OutboxUnavailable):
            await outbox.next_batch(Lane.EVENT, 0)
        folder.mkdir()
        await until(lambda: not outbox.problem)
        assert outbox.waiting == 10
        assert outbox.lost == 16 + 15
        assert {loss.reason for loss in await outbox.losses()} == {"disk not writable"}
    await outbox.close()
    await disk.close()
    messages = [record.message for record in caplog.records]
    assert len([message for message in messages if "can't be written" in message]) == 1
    assert len([message for message in messages if "can be written again" in message]) == 1


async def test_the_size_is_told_in_hours(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        assert parts.outbox.hours > 1000
        for _ in range(1000):
            parts.outbox.add_line(b"x" * 999)
        # 1 MB in a minute at the most: 10 MB bridge at least 10 minutes.
        assert 0.16 < parts.outbox.hours < 0.2


def test_the_event_that_is_too_long_is_a_fault_of_the_program() -> None:
    outbox = Outbox(Path(os.devnull), 1, DiskThread())
    from village_wire.events import CommandResult

    event = make_event(
        None, CommandResult(command=make_event(None, PRESSED).id, outcome="done", result={"x": "y" * 40_000})
    )
    with pytest.raises(ValueError, match="over the limit"):
        outbox.post_event(event)
