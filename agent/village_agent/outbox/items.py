"""What the outbox holds: rows in three classes, and the batches in which they travel. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from village_agent.outbox.ledger import ItemClass
from village_agent.outbox.pages import MAX_WRITE_BYTES, PAGE_BYTES

#: What a row may take on disk besides its content: header, key, index entry.
ROW_BYTES = 160
#: Pages that one transaction may need besides: half-filled ones, the ledger, the trees' inner pages.
_SPARE_PAGES = 6


class Lane(enum.IntEnum):
    """What travels together: events with receipts, telemetry alone, and events that piled up during an outage."""

    EVENT = 0
    TELEMETRY = 1
    BACKLOG = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One row to write: `count` lines of telemetry or one event, dated `first_ns` to `last_ns`.

    A `key` that is already there is not written again.
    """

    item_class: ItemClass
    count: int
    content: bytes
    first_ns: int
    last_ns: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent in one message; neither id nor contents change until it is acknowledged. `count` lines or events."""

    id: str
    lane: Lane
    contents: tuple[bytes, ...]
    count: int


def chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Cut rows, the most precious first, into lists that one `write` takes."""
    chunk: list[Item] = []
    size = 0
    for item in sorted(items, key=class_of):
        size += len(item.content) + ROW_BYTES
        if chunk and size > MAX_WRITE_BYTES:
            yield chunk
            chunk, size = [], len(item.content) + ROW_BYTES
        chunk.append(item)
    if chunk:
        yield chunk


def class_of(item: Item) -> ItemClass:
    """The row's class, to sort by."""
    return item.item_class


def pages_for(items: Sequence[Item]) -> int:
    """Pages that these rows need at the most."""
    return (
        _SPARE_PAGES
        + sum(len(item.content) + ROW_BYTES for item in items) // (PAGE_BYTES - 500)
        + len([item for item in items if len(item.content) > PAGE_BYTES // 2])
    )
