"""What happened at the far ends, by true time: the half of the comparison that no part of the product has touched."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

#: The lock is released for this long by a card, and never by a command: so a reader's output tells which it was.
CARD_SECONDS = 1.0
CARD_BITS = 32


@dataclass(slots=True)
class Card:
    """One card held to a reader. Times are seconds since 1970; `lock` and `light` are those at which the reader acted, if it did."""

    number: int
    agent: str
    reader: str
    known: bool
    presented: float
    lock: float | None = None
    light: float | None = None

    @property
    def credential(self) -> str:
        """As it stands in the event."""
        return f"{CARD_BITS}:{self.number:08x}"

    @property
    def acted(self) -> float | None:
        """When the reader first acted on the card: from then on its record must exist."""
        return min((time for time in (self.lock, self.light) if time is not None), default=None)


@dataclass(slots=True)
class Order:
    """One command as it was sent to the API. `executions` are what the far ends did, (agent, device, true time)."""

    number: int
    kind: str
    #: What the far end can tell it by: seconds of a release, the spoken text, the coil with its state.
    mark: str
    sent: float
    expires_in: float
    status: int = 0
    executions: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def exact_life(self) -> float:
        """Its life in seconds, whose microseconds are its number: by them the store knows it, even when the answer to us was lost."""
        return self.expires_in + self.number / 1e6


@dataclass(frozen=True, slots=True)
class Served:
    """One numbered value that a board gave to an agent."""

    agent: str
    number: int
    time: float


@dataclass(slots=True)
class Produced:
    """Everything together."""

    cards: list[Card] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    #: What a far end did that no order asked for.
    ghosts: list[str] = field(default_factory=list)
    #: True times at which each agent was killed.
    kills: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: Ids of events, and numbers of the counter, that lay on an agent's disk when it was killed.
    durable_events: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    durable_numbers: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
