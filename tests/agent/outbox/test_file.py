"""The outbox's file against a simple model: nothing is lost that is not in the ledger, no event is dropped, and the bound holds."""

from __future__ import annotations

import sqlite3
import tempfile
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from village_agent.disk import KEPT_BYTES
from village_agent.outbox.file import FRESH_EVENTS, OutboxFile
from village_agent.outbox.items import Item, Lane, chunks
from village_agent.outbox.ledger import MAX_REASONS, OTHER, ItemClass
from village_agent.outbox.pages import Shares

#: Small enough that some hundred writes fill it.
BOUND = 1_000_000
EVERYTHING = (500, 10_000, 64 * 1024)
SECOND = 1_000_000_000


def on_disk(path: Path) -> int:
    """Bytes of all of SQLite's files."""
    return sum(part.stat().st_size for part in path.parent.iterdir())


def item(item_class: ItemClass, number: int, size: int = 100) -> Item:
    content = f"{number:09d}".encode().ljust(size, b".")
    time_ns = number * SECOND
    return Item(item_class, 1, content, time_ns, time_ns, None if item_class is ItemClass.TELEMETRY else str(number))


def number_of(content: bytes) -> int:
    return int(content[:9])


class OutboxMachine(RuleBasedStateMachine):
    """Writes, sends, acknowledges, refuses, reads from outside and reopens in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.file = OutboxFile(self.path, BOUND)
        self.numbers = count(1)
        #: Number -> class, of what was written and is neither acknowledged, refused nor known to be lost.
        self.held: dict[int, ItemClass] = {}
        self.batches: dict[str, list[int]] = {}
        self.written = dict.fromkeys(ItemClass, 0)
        self.stored = dict.fromkeys(ItemClass, 0)
        self.turned_away = 0
        self.reader: sqlite3.Connection | None = None

    @rule(item_class=st.sampled_from(ItemClass), sizes=st.lists(st.integers(20, 30_000), min_size=1, max_size=12))
    def write(self, item_class: ItemClass, sizes: list[int]) -> None:
        rows = [item(item_class, next(self.numbers), size) for size in sizes]
        for chunk in chunks(rows):
            try:
                refused = self.file.write(chunk)
            except sqlite3.OperationalError as error:
                if self.reader is None or "another program reads" not in str(error):
                    raise
                return
            self.written[item_class] += len(chunk)
            self.turned_away += refused
            if not refused:
                if item_class is not ItemClass.TELEMETRY and self.reader is None:
                    assert self.file.write(chunk) == 0, "written twice"
                self.held |= {number_of(one.content): item_class for one in chunk}

    @rule(number=st.integers(1, 40))
    def flood(self, number: int) -> None:
        """Fill it with telemetry."""
        for _ in range(number):
            self.write(ItemClass.TELEMETRY, [15_000, 15_000])

    @rule(lane=st.sampled_from(Lane), rows=st.integers(1, 6), size=st.integers(1, 60_000))
    def send(self, lane: Lane, rows: int, size: int) -> None:
        batch = self.file.next_batch(lane, rows, rows, size, f"{next(self.numbers):032x}")
        if batch is None:
            return
        assert 1 <= len(batch.contents) == batch.count <= rows
        assert batch.count == 1 or sum(map(len, batch.contents)) + batch.count <= size
        numbers = [number_of(content) for content in batch.contents]
        assert not any(number in sent for number in numbers for sent in self.batches.values()), "in two batches"
        self.batches[batch.id] = numbers

    @rule()
    def reconnect(self) -> None:
        self.file.mark_backlog()

    @rule(data=st.data(), refuse=st.booleans())
    def acknowledge(self, data: st.DataObject, refuse: bool) -> None:
        chosen = data.draw(st.lists(st.sampled_from([*self.batches, "f" * 32]), unique=True, max_size=2))
        try:
            if refuse:
                self.file.refuse([(batch, "bad") for batch in chosen])
            else:
                self.file.write([], chosen)
        except sqlite3.OperationalError:
            # Half of it may be done: begin anew with what the file knows.
            assert self.reader is not None
            self.release()
            self.file.refuse([(batch, "bad") for batch in chosen]) if refuse else self.file.write([], chosen)
        for batch in chosen:
            for number in self.batches.pop(batch, ()):
                item_class = self.held.pop(number)
                if not refuse:
                    self.stored[item_class] += 1

    @rule()
    def read_from_outside(self) -> None:
        self.release()
        self.reader = sqlite3.connect(self.path, isolation_level=None)
        self.reader.execute("BEGIN")
        self.reader.execute("SELECT count(*) FROM telemetry").fetchone()

    @rule()
    def release(self) -> None:
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    @rule()
    def reopen(self) -> None:
        self.release()
        self.file.close()
        self.file = OutboxFile(self.path, BOUND)
        self.batches.clear()

    @invariant()
    def holds(self) -> None:
        losses = {(loss.item_class, loss.reason): loss for loss in self.file.losses()}
        found = {
            number_of(content): item_class
            for item_class in ItemClass
            for (content,) in self.file._db.execute(f"SELECT content FROM {item_class.name.lower()}")  # noqa: S608
        }
        assert found.items() <= self.held.items()
        for item_class in ItemClass:
            here = sum(one is item_class for one in found.values())
            lost = sum(loss.count for (one, _), loss in losses.items() if one is item_class)
            assert self.written[item_class] == here + self.stored[item_class] + lost
        gone = self.held.keys() - found.keys()
        assert all(self.held[number] is not ItemClass.EVENT for number in gone), "events on disk are never dropped"
        assert not any(number in gone for sent in self.batches.values() for number in sent)
        for number in gone:
            loss = losses[self.held[number], "outbox full"]
            assert loss.first.timestamp() <= number <= loss.last.timestamp()
        self.held = found
        assert self.file.waiting == len(found)
        assert self.file.lost == sum(loss.count for loss in losses.values())
        assert on_disk(self.path) <= BOUND

    def teardown(self) -> None:
        self.release()
        self.file.close()
        self.folder.cleanup()


TestOutboxFile = OutboxMachine.TestCase
TestOutboxFile.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_long_outage_stays_within_the_bound_at_every_step(tmp_path: Path) -> None:
    path, bound = tmp_path / "outbox.db", 2_000_000
    file = OutboxFile(path, bound)
    highest = 0
    for number in range(1500):
        line = f"host,agent=box,device=h cpu_percent={number}.0 {number * SECOND}".encode()
        file.write([Item(ItemClass.TELEMETRY, 100, b"\n".join([line] * 100), number * SECOND, number * SECOND)])
        highest = max(highest, on_disk(path))
    assert bound * 0.6 < highest <= bound
    (loss,) = file.losses()
    assert (loss.item_class, loss.reason) == (ItemClass.TELEMETRY, "outbox full")
    assert loss.count + file.waiting == 150_000
    assert (loss.first.timestamp(), loss.last.timestamp()) == (0, loss.count / 100 - 1)
    assert file.oldest_ns == loss.count // 100 * SECOND
    assert file.bytes <= file.capacity + 64 * 1024
    file.close()


def test_a_reader_holds_up_the_log_and_never_the_bound(tmp_path: Path) -> None:
    path, bound = tmp_path / "outbox.db", 10_000_000
    file = OutboxFile(path, bound)
    file.write([item(ItemClass.EVENT, 1)])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM event").fetchone() == (1,)
    numbers = count(2)
    with pytest.raises(sqlite3.OperationalError, match=r"another program reads outbox\.db-wal"):
        for number in numbers:
            file.write([item(ItemClass.TELEMETRY, number, 10_000)])
            assert on_disk(path) <= bound
    assert file.waiting > 50
    reader.close()
    file.write([item(ItemClass.EVENT, next(numbers))])
    assert on_disk(path) <= bound
    file.close()


def test_events_fill_what_is_theirs_and_are_then_refused_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = OutboxFile(path, BOUND)
    numbers = count(1)
    for _ in range(20):
        assert file.write([item(ItemClass.RECEIPT, next(numbers), 10_000)]) == 0
        assert file.write([item(ItemClass.TELEMETRY, next(numbers), 10_000)]) == 0
    first = next(numbers)
    while not file.write([item(ItemClass.EVENT, next(numbers), 1000)]):
        assert on_disk(path) <= BOUND
    last = next(numbers) - 1
    events = last - first - 1
    assert file.waiting_by_class == {ItemClass.EVENT: events, ItemClass.RECEIPT: 0, ItemClass.TELEMETRY: 0}
    assert events * 1000 > 0.55 * Shares.of(BOUND).pages * 4096
    # Nothing of the lower classes is taken at their cost.
    assert file.write([item(ItemClass.TELEMETRY, next(numbers)), item(ItemClass.RECEIPT, next(numbers))]) == 2
    assert file.waiting == events
    losses = {loss.item_class: loss for loss in file.losses()}
    assert {one: loss.count for one, loss in losses.items()} == {
        ItemClass.EVENT: 1,
        ItemClass.RECEIPT: 21,
        ItemClass.TELEMETRY: 21,
    }
    assert losses[ItemClass.EVENT].first == losses[ItemClass.EVENT].last == datetime.fromtimestamp(last, UTC)
    # Once some are stored there is room again.
    batch = file.next_batch(Lane.EVENT, *EVERYTHING, "a" * 32)
    assert batch is not None
    assert file.write([item(ItemClass.EVENT, next(numbers), 1000)], [batch.id]) == 0
    file.close()


def test_a_lower_bound_takes_hold_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = OutboxFile(path, 4_000_000)
    numbers = range(1, 200)
    for number in numbers:
        file.write([item(ItemClass.EVENT if number % 50 == 0 else ItemClass.TELEMETRY, number, 15_000)])
    file.close()
    assert on_disk(path) > 2_000_000
    file = OutboxFile(path, BOUND)
    file.write([item(ItemClass.EVENT, 1000)])
    file.close()
    assert on_disk(path) <= BOUND
    file = OutboxFile(path, BOUND)
    assert file.waiting_by_class[ItemClass.EVENT] == 4
    assert file.waiting + file.lost == 200
    file.close()


def test_the_newest_events_of_an_outage_are_not_backlog(tmp_path: Path) -> None:
    file = OutboxFile(tmp_path / "outbox.db", BOUND)
    file.write([item(ItemClass.EVENT, number) for number in range(1, 301)])
    assert file.next_batch(Lane.BACKLOG, *EVERYTHING, "0" * 32) is None
    file.mark_backlog()
    file.write([item(ItemClass.EVENT, 301)])
    fresh = file.next_batch(Lane.EVENT, *EVERYTHING, "1" * 32)
    backlog = file.next_batch(Lane.BACKLOG, *EVERYTHING, "2" * 32)
    assert fresh is not None
    assert backlog is not None
    assert [number_of(content) for content in fresh.contents] == list(range(301 - FRESH_EVENTS, 302))
    assert [number_of(content) for content in backlog.contents] == list(range(1, 301 - FRESH_EVENTS))
    for lane in Lane:
        assert file.next_batch(lane, *EVERYTHING, "3" * 32) is None
    file.write([], [fresh.id, backlog.id])
    assert file.waiting == 0
    file.close()


def test_a_batch_is_not_made_of_rows_of_a_former_one(tmp_path: Path) -> None:
    """Row numbers are not used again when the table has become empty."""
    file = OutboxFile(tmp_path / "outbox.db", BOUND)
    for number in range(5):
        file.write([item(ItemClass.TELEMETRY, number)])
        batch = file.next_batch(Lane.TELEMETRY, *EVERYTHING, str(number) * 32)
        assert batch is not None
        assert number_of(batch.contents[0]) == number
        assert file.unsent_telemetry_bytes == 0
        file.write([], [batch.id])
    file.close()


def test_reasons_from_outside_do_not_fill_the_ledger(tmp_path: Path) -> None:
    file = OutboxFile(tmp_path / "outbox.db", BOUND)
    for number in range(2 * MAX_REASONS):
        file.record_loss(ItemClass.TELEMETRY, f"reason {number}", 2, number, number)
    losses = file.losses()
    assert len(losses) == MAX_REASONS + 1
    assert {loss.reason: loss.count for loss in losses}[OTHER] == 2 * MAX_REASONS
    file.record_loss(ItemClass.EVENT, "a clock that ran wild", 1, -5, 2**63 - 1)
    assert file.lost == sum(loss.count for loss in file.losses()) == 4 * MAX_REASONS + 1
    file.close()


def test_little_is_kept_of_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"damaged by the power cut" * 100_000)
    OutboxFile(tmp_path / "outbox.db", 10_000_000).close()
    assert (tmp_path / "outbox.db.damaged").stat().st_size == KEPT_BYTES


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no database at all" * 1000)
    file = OutboxFile(path, BOUND)
    assert file.damaged
    file.write([item(ItemClass.EVENT, 1)])
    file.close()
    assert (tmp_path / "outbox.db.damaged").exists()
    again = OutboxFile(path, BOUND)
    assert (again.damaged, again.waiting) == (False, 1)
    again.close()


@pytest.mark.parametrize("lane", list(Lane))
def test_an_empty_lane_has_no_batch(tmp_path: Path, lane: Lane) -> None:
    file = OutboxFile(tmp_path / "outbox.db", BOUND)
    assert file.next_batch(lane, *EVERYTHING, "0" * 32) is None
    file.close()
