"""The outbox's file against a simple model: nothing is lost that is not in the ledger, and the bound holds."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from village_agent.outbox_file import ROW_OVERHEAD, Item, ItemClass, Lane, OutboxFile

NOW = datetime(2026, 11, 24, tzinfo=UTC)
BOUND = 20_000
LANES = {ItemClass.EVENT: Lane.EVENT, ItemClass.RECEIPT: Lane.EVENT, ItemClass.TELEMETRY: Lane.TELEMETRY}


class OutboxMachine(RuleBasedStateMachine):
    """Writes, sends, acknowledges, refuses and reopens in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.file = OutboxFile(self.path, BOUND)
        self.numbers = count()
        #: Content -> class, of what is neither acknowledged nor known to be lost.
        self.held: dict[bytes, ItemClass] = {}
        self.batches: dict[str, tuple[Lane, tuple[bytes, ...]]] = {}
        self.written = dict.fromkeys(ItemClass, 0)
        self.stored = dict.fromkeys(ItemClass, 0)

    @initialize()
    def begin(self) -> None:
        assert self.file.bytes == 0

    @rule(item_class=st.sampled_from(ItemClass), sizes=st.lists(st.integers(20, 3000), min_size=1, max_size=5))
    def write(self, item_class: ItemClass, sizes: list[int]) -> None:
        items = []
        for size in sizes:
            number = next(self.numbers)
            content = f"{number:09d}".encode().ljust(size, b".")
            key = None if item_class is ItemClass.TELEMETRY else str(number)
            items.append(Item(item_class, 1, content, key))
            self.held[content] = item_class
            self.written[item_class] += 1
        self.file.write(items, NOW)
        self.file.write([item for item in items if item.item_class is ItemClass.EVENT], NOW)

    @rule(lane=st.sampled_from(Lane), rows=st.integers(1, 6), size=st.integers(1, 8000))
    def send(self, lane: Lane, rows: int, size: int) -> None:
        after = 0
        known = [batch for batch, (its_lane, _) in self.batches.items() if its_lane is lane]
        while True:
            new_id = f"{next(self.numbers):032x}"
            batch = self.file.next_batch(lane, after, rows, rows, size, new_id)
            if batch is None:
                break
            after = batch.seq
            if batch.id != new_id:
                assert self.batches[batch.id] == (lane, batch.contents)
                known.remove(batch.id)
                continue
            assert not known, "old batches come first"
            assert 1 <= len(batch.contents) <= rows
            assert len(batch.contents) == 1 or sum(map(len, batch.contents)) + len(batch.contents) <= size
            self.batches[batch.id] = (lane, batch.contents)
            break
        else:
            assert not known

    @rule(data=st.data(), refuse=st.booleans())
    def acknowledge(self, data: st.DataObject, refuse: bool) -> None:
        chosen = data.draw(st.lists(st.sampled_from([*self.batches, "f" * 32]), unique=True))
        if refuse:
            self.file.remove([], [(batch, "bad") for batch in chosen], NOW)
        else:
            self.file.remove(chosen, [], NOW)
        for batch in chosen:
            for content in self.batches.pop(batch, (None, ()))[1]:
                item_class = self.held.pop(content)
                if not refuse:
                    self.stored[item_class] += 1

    @rule()
    def reopen(self) -> None:
        before = self.file.bytes, self.file.waiting, self.file.lost
        self.file.close()
        self.file = OutboxFile(self.path, BOUND)
        assert (self.file.bytes, self.file.waiting, self.file.lost) == before

    @invariant()
    def everything_is_accounted_for(self) -> None:
        lost = dict.fromkeys(ItemClass, 0)
        full = dict.fromkeys(ItemClass, 0)
        for loss in self.file.losses():
            lost[loss.item_class] += loss.count
            full[loss.item_class] += loss.count if loss.reason == "outbox full" else 0
        rows = self.file._db.execute("SELECT class, content FROM item ORDER BY id").fetchall()
        found = {content: ItemClass(item_class) for item_class, content in rows}
        assert len(found) == len(rows)
        assert found.items() <= self.held.items()
        for item_class in ItemClass:
            here = sum(one is item_class for one in found.values())
            assert self.written[item_class] == here + self.stored[item_class] + lost[item_class]
        assert full[ItemClass.EVENT] == 0, "events are never dropped"
        gone = [content for content in self.held if content not in found]
        assert all(content not in contents for content in gone for _, contents in self.batches.values())
        for item_class in (ItemClass.TELEMETRY, ItemClass.RECEIPT):
            kept = [content for content, one in found.items() if one is item_class]
            unsent = [
                content for content in kept if not any(content in contents for _, contents in self.batches.values())
            ]
            if unsent:
                assert all(content < unsent[0] for content in gone if self.held[content] is item_class), (
                    "the oldest go first"
                )
        self.held = found
        assert self.file.waiting == len(found)
        assert self.file.bytes == sum(len(content) + ROW_OVERHEAD for content in found)
        sent = [content for _, contents in self.batches.values() for content in contents]
        if self.file.bytes > BOUND:
            assert all(one is ItemClass.EVENT for content, one in found.items() if content not in sent)

    def teardown(self) -> None:
        self.file.close()
        self.folder.cleanup()


TestOutboxFile = OutboxMachine.TestCase
TestOutboxFile.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_file_stays_within_its_bound_on_disk(tmp_path: Path) -> None:
    bound = 2_000_000
    file = OutboxFile(tmp_path / "outbox.db", bound)
    for number in range(600):
        line = f"host,agent=box,device=h cpu_percent={number}.0 {number}".encode()
        file.write([Item(ItemClass.TELEMETRY, 100, b"\n".join([line] * 100))], NOW)
    (loss,) = file.losses()
    assert (loss.item_class, loss.reason) == (ItemClass.TELEMETRY, "outbox full")
    assert loss.count + file.waiting == 60_000
    assert bound * 0.9 < file.bytes <= bound
    file.close()
    assert sum(part.stat().st_size for part in tmp_path.iterdir()) < 1.5 * bound


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no database at all" * 1000)
    file = OutboxFile(path, BOUND)
    assert file.damaged
    file.write([Item(ItemClass.EVENT, 1, b"{}", "1")], NOW)
    file.close()
    assert (tmp_path / "outbox.db.damaged").exists()
    again = OutboxFile(path, BOUND)
    assert (again.damaged, again.waiting) == (False, 1)
    again.close()


@pytest.mark.parametrize("lane", list(Lane))
def test_an_empty_lane_has_no_batch(tmp_path: Path, lane: Lane) -> None:
    file = OutboxFile(tmp_path / "outbox.db", BOUND)
    assert file.next_batch(lane, 0, 5, 5, 500, "0" * 32) is None
    file.close()
