"""What the disk has not taken: lines and events that wait for the next commit or, while the disk refuses, are sent from memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from village_agent.outbox.items import Batch, Item, Lane
from village_agent.outbox.ledger import ItemClass
from village_wire.events import Event, Receipt

#: Lines, and events with receipts, that are kept while the disk takes nothing; more are lost and counted (about 2 MB each).
MAX_UNWRITTEN = 10_000
#: Receipts are taken only while so many are free for events.
_FOR_EVENTS = 5000
#: An event that is longer than this is a fault of the program.
MAX_EVENT_BYTES = 32 * 1024
#: Lines of one row, and about its length: a row goes into a batch as a whole.
_ROW_LINES = 200
_ROW_BYTES = 16 * 1024


#: Reason in the ledger for what found no place in memory.
NOT_WRITABLE = "disk not writable"


@dataclass(slots=True)
class Span:
    """How much was lost, and from when to when it was measured."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0


#: Losses that are not in the ledger yet, by class and reason.
Losses = dict[tuple[ItemClass, str], Span]


class Memory:
    """Lines and events in the order in which they came. Touched by the event loop only."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._items: list[Item] = []
        self._sent: dict[str, list[Item] | list[bytes]] = {}
        self._losses: Losses = {}

    @property
    def waiting(self) -> int:
        """Lines and events, sent and unsent."""
        return len(self._lines) + len(self._items) + sum(map(len, self._sent.values()))

    @property
    def lines(self) -> int:
        """Lines in no batch."""
        return len(self._lines)

    @property
    def events(self) -> int:
        """Events and receipts in no batch."""
        return len(self._items)

    @property
    def lost(self) -> int:
        """Lines and events that are lost and not in the ledger yet."""
        return sum(one.count for one in self._losses.values())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._lines or self._items or self._sent or self._losses)

    def add_line(self, line: bytes) -> None:
        """Keep a line of telemetry."""
        if len(self._lines) < MAX_UNWRITTEN:
            self._lines.append(line)
        else:
            time_ns = line_time(line)
            self.lose(ItemClass.TELEMETRY, NOT_WRITABLE, 1, time_ns, time_ns)

    def add_item(self, item: Item) -> None:
        """Keep an event or receipt."""
        spare = 0 if item.item_class is ItemClass.EVENT else _FOR_EVENTS
        if len(self._items) + spare < MAX_UNWRITTEN:
            self._items.append(item)
        else:
            self.lose(item.item_class, NOT_WRITABLE, 1, item.first_ns, item.last_ns)

    def take(self) -> tuple[list[Item], Losses, list[str]]:
        """Take everything out: as rows, the losses, and the ids of batches that thereby cease to exist."""
        items, lines, void = self._items, self._lines, list(self._sent)
        for content in reversed(self._sent.values()):
            items[:0] = [one for one in content if isinstance(one, Item)]
            lines[:0] = [one for one in content if isinstance(one, bytes)]
        losses = self._losses
        self._lines, self._items, self._sent, self._losses = [], [], {}, {}
        return items + rows_of(lines), losses, void

    def put_back(self, rows: Sequence[Item], losses: Losses) -> None:
        """Take back, in front of what came since, what the disk did not take."""
        self._items[:0] = [row for row in rows if row.item_class is not ItemClass.TELEMETRY]
        self._lines[:0] = [
            line for row in rows if row.item_class is ItemClass.TELEMETRY for line in row.content.split(b"\n")
        ]
        for (item_class, reason), span in losses.items():
            self.lose(item_class, reason, span.count, span.first_ns, span.last_ns)

    def next_batch(self, lane: Lane, most: int, max_bytes: int, new_id: str) -> Batch | None:
        """Return a new batch of what is in none, at most `most` lines or events; it stays here until `forget` or `take`."""
        if lane is Lane.BACKLOG:
            return None
        source: list[Item] | list[bytes] = self._items if lane is Lane.EVENT else self._lines
        contents: list[bytes] = []
        size = 0
        for one in source[:most]:
            content = one.content if isinstance(one, Item) else one
            size += len(content) + 1
            if contents and size > max_bytes:
                break
            contents.append(content)
        if not contents:
            return None
        self._sent[new_id] = source[: len(contents)]
        del source[: len(contents)]
        return Batch(new_id, lane, tuple(contents), len(contents))

    def forget(self, batch: str) -> bool:
        """Forget an acknowledged batch; return whether it was one of these."""
        return self._sent.pop(batch, None) is not None

    def refuse(self, batch: str) -> list[Item] | None:
        """As `forget`; return the batch's rows, or None if it was none of these."""
        content = self._sent.pop(batch, None)
        if content is None:
            return None
        return [one for one in content if isinstance(one, Item)] + rows_of(
            [one for one in content if isinstance(one, bytes)]
        )

    def lose(self, item_class: ItemClass, reason: str, count: int, first_ns: int, last_ns: int) -> None:
        """Note a loss for the ledger."""
        span = self._losses.setdefault((item_class, reason), Span(0, first_ns, last_ns))
        span.count += count
        span.first_ns, span.last_ns = min(span.first_ns, first_ns), max(span.last_ns, last_ns)


def rows_of(lines: Sequence[bytes]) -> list[Item]:
    """Gather lines into rows."""
    rows: list[Item] = []
    begin = size = 0
    for end, line in enumerate(lines):
        if end > begin and (end - begin == _ROW_LINES or size + len(line) > _ROW_BYTES):
            rows.append(_row(lines[begin:end]))
            begin, size = end, 0
        size += len(line) + 1
    if len(lines) > begin:
        rows.append(_row(lines[begin:]))
    return rows


def item_of(event: Event) -> Item:
    """Return the row of an event; raises `ValueError` for one that is too long, which is a fault of the program."""
    content = event.model_dump_json(exclude_none=True).encode()
    if len(content) > MAX_EVENT_BYTES:
        raise ValueError(f"event {event.data.kind} of {len(content)} bytes is over the limit of {MAX_EVENT_BYTES}")
    item_class = ItemClass.RECEIPT if isinstance(event.data, Receipt) else ItemClass.EVENT
    time_ns = int(event.time.timestamp() * 1e9)
    return Item(item_class, 1, content, time_ns, time_ns, str(event.id))


def line_time(line: bytes) -> int:
    """Return a line's time in nanoseconds, or the present for a line without a time."""
    digits = line.rpartition(b" ")[2]
    return int(digits) if digits.isdigit() and len(digits) < 20 else time.time_ns()


def _row(lines: Sequence[bytes]) -> Item:
    times = (line_time(lines[0]), line_time(lines[-1]))
    return Item(ItemClass.TELEMETRY, len(lines), b"\n".join(lines), min(times), max(times))
