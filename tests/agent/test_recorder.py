"""Readings and events without a date: on disk until the time is known, then in the outbox, each once and dated right."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tests.agent.kit import running, until
from village_agent import recorder as module
from village_agent.clock.clock import SECOND_NS, Clock, Estimate, from_ns, to_ns
from village_agent.clock.undated_file import Undated, UndatedFile
from village_agent.disk import DiskThread
from village_agent.outbox.items import Lane
from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_agent.recorder import MAX_UNWRITTEN, Recorder
from village_agent.report import make_event
from village_wire.events import ButtonPressed, Event, Receipt
from village_wire.points import encode_point
from village_wire.time_answer import TimeAnswer

TRUE = to_ns(datetime(2026, 11, 24, 10, tzinfo=UTC))
BOOT, NEXT_BOOT = "boot-1", "boot-2"


class Box:
    """A recorder with its outbox; the time since boot is the test's."""

    def __init__(self, folder: Path, boot: str = BOOT, max_bytes: int = 1_000_000) -> None:
        self.path = folder / "undated.db"
        self.clock = Clock()
        self.disk = DiskThread()
        self.outbox = Outbox(folder / "outbox.db", 10_000_000, self.disk)
        self.recorder = Recorder(self.clock, self.outbox, self.path, boot, max_bytes, self.disk)

    def told(self, offset_ns: int = TRUE) -> None:
        """The collector answers."""
        self.clock.ask("5e" * 16, 0)
        self.clock.answer(TimeAnswer(agent="box", nonce="5e" * 16, time=from_ns(offset_ns)), 0)
        self.recorder.clock_changed()

    def line(self, boot_ns: int) -> None:
        now = self.clock.now_ns(boot_ns)
        self.recorder.add_line(encode_point("host", "box", "machine", {"cpu_percent": 1.0}, now))

    def event(self, boot_ns: int, action: str = "single") -> Event:
        return make_event("button", ButtonPressed(action=action), self.clock.now_ns(boot_ns))

    async def sent(self, lane: Lane) -> list[bytes]:
        """All that the outbox holds now."""
        await self.outbox.add_events([])
        found: list[bytes] = []
        while (batch := await self.outbox.next_batch(lane)) is not None:
            found += [line for content in batch.contents for line in content.split(b"\n")]
        return found

    async def events(self, count: int) -> list[Event]:
        found: list[Event] = []
        async with asyncio.timeout(5):
            while len(found) < count:
                found += [Event.model_validate_json(content) for content in await self.sent(Lane.EVENT)]
                await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def box(folder: Path, boot: str = BOOT, max_bytes: int = 1_000_000) -> AsyncIterator[Box]:
    made = Box(folder, boot, max_bytes)
    try:
        async with running(made.outbox.run()), running(made.recorder.run()):
            yield made
    finally:
        await made.recorder.close()
        await made.outbox.close()
        await made.disk.close()


def rows(path: Path) -> int:
    with sqlite3.connect(path) as db:
        (count,) = db.execute("SELECT coalesce(sum(count), 0) FROM undated").fetchone()
    db.close()
    return int(count)


async def test_nothing_reaches_the_outbox_before_the_time_is_known_and_all_does_after(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        one.line(7 * SECOND_NS)
        await one.recorder.add_events([one.event(8 * SECOND_NS)])
        one.recorder.post_event(one.event(9 * SECOND_NS, "double"))
        await one.recorder.add_events([])
        assert await asyncio.to_thread(rows, one.path) == 3
        assert await one.sent(Lane.EVENT) == await one.sent(Lane.TELEMETRY) == []
        one.told()
        one.line(20 * SECOND_NS)
        await one.recorder.add_events([one.event(20 * SECOND_NS, "later")])
        events = await one.events(3)
        times = {event.time: event.data.action for event in events if isinstance(event.data, ButtonPressed)}
        start = from_ns(TRUE)
        at = {start + timedelta(seconds=8): "single", start + timedelta(seconds=9): "double"}
        assert times == at | {start + timedelta(seconds=20): "later"}
        ends = [int(line.rpartition(b" ")[2]) - TRUE for line in await one.sent(Lane.TELEMETRY)]
        assert sorted(ends) == [7 * SECOND_NS, 20 * SECOND_NS]
        await until(lambda: one.recorder._stepping is False)
        assert await asyncio.to_thread(rows, one.path) == 0


async def test_after_a_restart_in_the_same_boot_the_time_is_known_at_once(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        one.told()
        await one.recorder.add_events([])
        await until(lambda: one.recorder._remembered is not None)
    async with box(tmp_path) as again:
        restored = asyncio.Event()
        again.recorder.on_restored = restored.set
        await again.recorder.add_events([again.event(5 * SECOND_NS)])
        assert restored.is_set()
        (event,) = await again.events(1)
        assert event.time == from_ns(TRUE + 5 * SECOND_NS)
    async with box(tmp_path, NEXT_BOOT) as other:
        await other.recorder.add_events([other.event(5 * SECOND_NS)])
        assert not other.clock.known


async def test_what_one_run_kept_the_next_run_of_the_same_boot_dates(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.recorder.add_events([one.event(3 * SECOND_NS)])
        one.line(4 * SECOND_NS)
    async with box(tmp_path) as again:
        again.told()
        (event,) = await again.events(1)
        assert event.time == from_ns(TRUE + 3 * SECOND_NS)
        async with asyncio.timeout(5):
            while not (lines := await again.sent(Lane.TELEMETRY)):
                await asyncio.sleep(0.01)
        assert lines[0].endswith(b" %d" % (TRUE + 4 * SECOND_NS))


async def test_a_kill_while_it_is_handed_over_gives_every_event_the_same_id_again(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        await one.recorder.add_events([one.event(number * SECOND_NS) for number in range(1, 6)])
        await asyncio.to_thread(keep_copy, one.path)
        one.told()
        first = await one.events(5)

    def restore() -> None:
        # As if the kill had come after the outbox's commit and before the removal here. The collector has said another time since.
        for path in tmp_path.glob("undated.db*"):
            path.unlink()
        (tmp_path / "copy.db").rename(tmp_path / "undated.db")
        file = UndatedFile(tmp_path / "undated.db", BOOT, 1_000_000)
        file.remember(TRUE, Estimate(TRUE + SECOND_NS, 1000, 0, "collector"))
        file.close()

    await asyncio.to_thread(restore)
    async with box(tmp_path) as again:
        await until(lambda: again.clock.known)
        async with asyncio.timeout(5):
            while await asyncio.to_thread(rows, again.path):
                await asyncio.sleep(0.01)
        # The outbox still has the first five: not one is there twice.
        assert again.outbox.waiting == len(first) == 5


def keep_copy(path: Path) -> None:
    with sqlite3.connect(path) as source, sqlite3.connect(path.with_name("copy.db")) as target:
        source.backup(target)
    source.close()
    target.close()


async def test_what_an_earlier_boot_could_not_date_is_in_the_ledger_and_not_guessed(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        one.line(1)
        one.line(2)
        await one.recorder.add_events([one.event(3)])
    async with box(tmp_path, NEXT_BOOT) as other:
        await other.recorder.add_events([])
        assert other.outbox.lost == 0
        other.told()
        await until(lambda: other.outbox.lost == 3)
        await other.outbox.add_events([])
        entries = [(loss.item_class, loss.reason, loss.count) for loss in await other.outbox.losses()]
        assert entries == [(ItemClass.EVENT, "no date known", 1), (ItemClass.TELEMETRY, "no date known", 2)]
        assert await other.sent(Lane.EVENT) == await other.sent(Lane.TELEMETRY) == []
    async with box(tmp_path, NEXT_BOOT) as again:
        await again.recorder.add_events([])
        assert again.outbox.lost == 3


async def test_a_disk_that_refuses_keeps_nobody_waiting_and_loses_nothing_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.2)
    (tmp_path / "undated.db").mkdir()
    async with box(tmp_path) as one:
        with pytest.raises(OutboxUnavailable):
            await one.recorder.add_events([one.event(1)])
        for number in range(MAX_UNWRITTEN + 9):
            one.line(number)
        one.told()
        await one.recorder.add_events([one.event(2 * SECOND_NS, "later")])
        assert len(await one.events(2)) == 2
        await until(lambda: one.outbox.lost == 10)


def test_the_file_keeps_its_bound_telemetry_goes_first_and_events_stay(tmp_path: Path) -> None:
    path = tmp_path / "undated.db"
    file = UndatedFile(path, BOOT, 100_000)
    event = Undated(ItemClass.EVENT, 1, b"e" * 940)
    receipt = Undated(ItemClass.RECEIPT, 1, b"r" * 940)
    telemetry = Undated(ItemClass.TELEMETRY, 10, b"t" * 940)
    for _ in range(50):
        file.add([telemetry, receipt, event])
    assert file.losses() == [(ItemClass.TELEMETRY, "no room for undated data", 500)]
    for _ in range(60):
        file.add([event])
    losses = {(kind, count) for kind, _, count in file.losses()}
    assert losses == {(ItemClass.EVENT, 10), (ItemClass.RECEIPT, 50), (ItemClass.TELEMETRY, 500)}
    file.close()
    again = UndatedFile(path, BOOT, 100_000)
    assert sum(row.count for _, row in again.read(1000)) == 100
    again.forget_losses()
    assert again.losses() == []
    again.close()


async def test_receipts_and_events_keep_their_class(tmp_path: Path) -> None:
    async with box(tmp_path) as one:
        receipt = make_event("speaker", Receipt(broadcast=uuid4(), stage="started"), 1000)
        await one.recorder.add_events([receipt, one.event(2000)])
        with_classes = await asyncio.to_thread(classes, one.path)
    assert with_classes == [ItemClass.RECEIPT, ItemClass.EVENT]


def classes(path: Path) -> list[int]:
    with sqlite3.connect(path) as db:
        found = [item_class for (item_class,) in db.execute("SELECT class FROM undated ORDER BY id")]
    db.close()
    return found
