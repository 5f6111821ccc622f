"""Which faults happen, when and for how long: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

#: Kind -> shortest and longest time that it lasts, in seconds. A killed program is started again after it.
LENGTHS = {
    "kill agent": (0.0, 6.0),
    "kill broker": (0.0, 5.0),
    "kill collector": (0.0, 6.0),
    "kill store": (0.0, 6.0),
    "cut link": (1.0, 9.0),
    "slow link": (5.0, 12.0),
    "fill disk": (3.0, 8.0),
    "jump clock": (5.0, 15.0),
}
#: How often each comes in one round, per target.
_WEIGHTS = {"kill agent": 2, "kill broker": 2, "kill collector": 2, "kill store": 2}
#: Seconds by which a clock jumps: a year, a day, an hour, a minute, forward and back.
JUMPS = (365 * 86400, -86400, 86400, -3600, 3600, -60, 60)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `at` counts from the start of the load; `amount` is the jump of a clock in seconds."""

    at: float
    kind: str
    target: str
    seconds: float
    amount: int = 0


def plan(seed: int, load_seconds: float, interval: float, possible: Sequence[tuple[str, str]]) -> list[Fault]:
    """Return faults of the `possible` (kind, target), all of them in each round, on average one each `interval` seconds."""
    chance = random.Random(f"plan {seed}")
    faults: list[Fault] = []
    at = interval
    while at < load_seconds:
        deck = [place for place in possible for _ in range(_WEIGHTS.get(place[0], 1))]
        # Each kind and target comes before any comes a second time, however short the run.
        first = list(possible)
        chance.shuffle(first)
        for place in first:
            deck.remove(place)
        chance.shuffle(deck)
        for kind, target in first + deck:
            if at >= load_seconds:
                break
            amount = chance.choice(JUMPS) if kind == "jump clock" else 0
            faults.append(Fault(round(at, 2), kind, target, round(chance.uniform(*LENGTHS[kind]), 2), amount))
            at += chance.uniform(0.5, 1.5) * interval
    return faults
