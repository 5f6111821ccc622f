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

from tests.agent.kit import make_event, running, site, until
from village_agent.disk import DiskThread
from village_agent.outbox import memory
from village_agent.outbox import outbox as module
from village_agent.outbox.items import Lane
from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_wire.events import ButtonPressed, Receipt

PRESSED = ButtonPressed(action="single")

#: Adds events and lines and, once an event is said to be safe, tells its id.
WRITER = """
import asyncio, sys
from pathlib import Path
from village_agent.disk import DiskThread
from village_agent.outbox.outbox import Outbox
from tests.agent.kit import make_event
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
    found = {key for (key,) in database.execute("SELECT key FROM event")}
    lines = database.execute("SELECT content, count FROM telemetry").fetchall()
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
        batch = await parts.outbox.next_batch(Lane.TELEMETRY)
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
        batch = await parts.outbox.next_batch(Lane.EVENT)
        assert batch is not None
        assert [
            str(event.id) in content.decode() for event, content in zip([pressed, receipt], batch.contents, strict=True)
        ]
        assert await parts.outbox.next_batch(Lane.EVENT) is None
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
    monkeypatch.setattr(memory, "MAX_UNWRITTEN", 5)
    monkeypatch.setattr(memory, "_FOR_EVENTS", 3)
    caplog.set_level(logging.INFO)
    disk = DiskThread()
    folder = tmp_path / "absent"
    outbox = Outbox(folder / "outbox.db", 10_000_000, disk)
    conditions: list[str] = []
    outbox.on_condition = lambda code, _: conditions.append(code)
    async with running(outbox.run()):
        with pytest.raises(OutboxUnavailable, match="unable to open"):
            await outbox.add_events([make_event(None, PRESSED)])
        receipt = Receipt(broadcast=make_event(None, PRESSED).id, stage="started")
        for number in range(20):
            outbox.post_event(make_event(None, receipt))
            outbox.post_event(make_event(None, PRESSED))
            outbox.add_line(b"switch,agent=box,device=s on=true %d" % (number * 1_000_000_000))
        # At once, not after the next attempt: a lock waits for this.
        with pytest.raises(OutboxUnavailable):
            await outbox.add_events([])
        assert (outbox.waiting, outbox.lost) == (10, 51)
        folder.mkdir()
        await until(lambda: not outbox.problem)
        assert (outbox.waiting, outbox.lost) == (10, 51)
        losses = {loss.item_class: loss for loss in await outbox.losses()}
        assert {loss.reason for loss in losses.values()} == {"disk not writable"}
        assert {one: loss.count for one, loss in losses.items()} == {
            ItemClass.EVENT: 17,
            ItemClass.RECEIPT: 19,
            ItemClass.TELEMETRY: 15,
        }
        lost = losses[ItemClass.TELEMETRY]
        assert (lost.first.timestamp(), lost.last.timestamp()) == (5, 19)
    await outbox.close()
    await disk.close()
    assert conditions == ["disk_failed", "works"]
    messages = [record.message for record in caplog.records]
    assert len([message for message in messages if "can't be written" in message]) == 1
    assert len([message for message in messages if "can be written again" in message]) == 1


async def test_what_the_disk_refuses_is_sent_from_memory_and_written_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    disk = DiskThread()
    folder = tmp_path / "absent"
    outbox = Outbox(folder / "outbox.db", 10_000_000, disk)
    void: list[str] = []
    outbox.on_void = lambda batches: void.extend(batches or ())
    async with running(outbox.run()):
        await until(lambda: bool(outbox.problem))
        first, second = make_event(None, PRESSED), make_event(None, PRESSED)
        outbox.post_event(first)
        sent = await outbox.next_batch(Lane.EVENT)
        assert sent is not None
        assert str(first.id) in sent.contents[0].decode()
        outbox.post_event(second)
        pending = await outbox.next_batch(Lane.EVENT)
        assert pending is not None
        for number in range(300):
            outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
        lines = await outbox.next_batch(Lane.TELEMETRY)
        assert lines is not None
        assert lines.count == 300
        assert outbox.waiting == 302
        await outbox.remove([sent.id], [(lines.id, "because")])
        assert outbox.waiting == 1
        folder.mkdir()
        await until(lambda: not outbox.problem)
        # What was not acknowledged is on disk now, and comes again from there.
        assert void == [pending.id]
        again = await outbox.next_batch(Lane.EVENT)
        assert again is not None
        assert again.contents == pending.contents
        assert [(loss.reason, loss.count) for loss in await outbox.losses()] == [("because", 300)]
        await outbox.remove([again.id, pending.id])
        assert outbox.waiting == 0
    await outbox.close()
    await disk.close()


@pytest.mark.parametrize(("tree", "late"), [("telemetry", False), ("event", False), ("sqlite_autoindex_event_1", True)])
async def test_a_file_that_turns_out_to_be_damaged_is_replaced_and_what_it_held_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str, late: bool
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    path = tmp_path / "outbox.db"
    async with site(tmp_path) as parts:
        parts.outbox.note_loss(ItemClass.RECEIPT, "earlier", 3)
        await parts.outbox.add_events([make_event(None, PRESSED) for _ in range(200)])
        for number in range(2000):
            parts.outbox.add_line(b"switch,agent=box,device=s on=true %d" % number)
    database = sqlite3.connect(path)
    pages = [page for (page,) in database.execute("SELECT pageno FROM dbstat WHERE name = ?", (tree,))]
    database.close()
    damaged = bytearray(path.read_bytes())
    for page in pages:
        damaged[(page - 1) * 4096 : page * 4096 - 4032] = b"\xff" * 64
    path.write_bytes(damaged)
    void: list[object] = []
    async with site(tmp_path) as parts:
        parts.outbox.on_void = void.append
        async with asyncio.timeout(10):
            while not list(tmp_path.glob("*.damaged")):
                try:
                    await parts.outbox.add_events([make_event(None, PRESSED)])
                except OutboxUnavailable:
                    await asyncio.sleep(0.01)
        await until(lambda: not parts.outbox.problem)
        pressed = make_event(None, PRESSED)
        await parts.outbox.add_events([pressed])
        assert pressed.id in {event.id for event in await parts.events()}
        losses = {(loss.item_class, loss.reason): loss.count for loss in await parts.outbox.losses()}
        if not late:
            assert losses == {(ItemClass.EVENT, "outbox damaged, number unknown"): 1}
        else:
            assert void == [None]
            assert losses == {
                (ItemClass.EVENT, "outbox damaged"): 200,
                (ItemClass.TELEMETRY, "outbox damaged"): 2000,
                (ItemClass.RECEIPT, "earlier"): 3,
            }


async def test_the_size_is_told_in_hours(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        await parts.events()
        assert parts.outbox.hours > 1000
        for _ in range(1000):
            parts.outbox.add_line(b"x" * 999)
        # 1 MB in the first minute; telemetry may fill four fifths of 10 MB but for SQLite's log, some six minutes' worth.
        assert 0.09 < parts.outbox.hours < 0.12


def test_the_event_that_is_too_long_is_a_fault_of_the_program() -> None:
    outbox = Outbox(Path(os.devnull), 1, DiskThread())
    from village_wire.events import CommandResult

    event = make_event(
        None, CommandResult(command=make_event(None, PRESSED).id, outcome="done", result={"x": "y" * 40_000})
    )
    with pytest.raises(ValueError, match="over the limit"):
        outbox.post_event(event)
