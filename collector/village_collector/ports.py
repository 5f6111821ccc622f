"""What the parts of the collector know of each other. Each protocol is declared for those who use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from village_wire.events import Event
from village_wire.points import Value
from village_wire.presence import AgentStatus, Inventory


class StoreUnavailable(Exception):
    """The store can't take or give data now; the text names the store and what to do. Nothing was acknowledged.

    `code` is one of `village_wire.states.ADVICE`; `retry_after` (seconds) is 0 unless the store named a time to wait.
    """

    def __init__(self, text: str, *, code: str = "collector_lost", retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps the collector from taking data in (`down`) or makes it late (`degraded`), since when; the text says what to do."""

    part: Literal["broker", "store", "feed"]
    since: datetime
    text: str
    code: str = "collector_lost"
    status: Literal["degraded", "down"] = "down"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that the store refused, and why. The other lines of its batch are stored."""

    line: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one field."""

    time: datetime
    value: Value


@dataclass(frozen=True, slots=True)
class Field:
    """A field that a device has ever reported, with its latest sample."""

    kind: str
    name: str
    latest: Sample


class TelemetryStore(Protocol):
    """Readings by time. Writing the same series and time twice leaves one sample."""

    async def open(self) -> None:
        """Make ready; raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Release everything; what was acknowledged is on disk."""

    async def write(self, lines: bytes) -> Sequence[BadLine]:
        """Store a block of lines (line protocol, nanoseconds) and return once it is on disk; the refused lines are the answer.

        Raises:
            StoreUnavailable: nothing can be said about any line; write the block again later.
        """

    async def fields(self, agent: str, device: str) -> Sequence[Field]:
        """All fields of a device, by kind and name; raises `StoreUnavailable`."""

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        """The latest sample of each field of one kind and device id, by agent, for those who reported lately.

        Raises:
            StoreUnavailable: it can't be read now.
        """

    async def history(
        self, agent: str, device: str, kind: str, field: str, start: datetime, end: datetime, limit: int
    ) -> Sequence[Sample]:
        """Samples of one field in [start, end), oldest first; raises `StoreUnavailable`.

        More than `limit` are thinned to means (numbers) or last values (booleans) of equal spans of time.
        """


@dataclass(frozen=True, slots=True)
class ReceivedEvents:
    """One batch of events as it came in."""

    agent: str
    received: datetime
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message, or part of one, that was refused. `content` holds at most the first 4 KiB."""

    agent: str
    topic: str
    received: datetime
    reason: str
    content: bytes


class ControlSink(Protocol):
    """What ingest needs of the control store. Methods block on the disk (call them in a thread) and return once committed.

    All raise `StoreUnavailable`.
    """

    def store_events(self, batches: Sequence[ReceivedEvents]) -> None:
        """Store events, once per event id, and update device states and command results, in one transaction."""

    def store_status(self, agent: str, status: AgentStatus, received: datetime) -> None:
        """Keep an agent's status; one of a connection that is over, such as a late will, changes nothing."""

    def store_inventory(self, inventory: Inventory, received: datetime) -> None:
        """Keep an agent's inventory; devices that are no longer in it are marked as removed."""

    def store_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep refused messages; the oldest beyond 10,000 are forgotten."""

    def touch(self, seen: Mapping[str, datetime]) -> None:
        """Note when each agent was last heard of."""
