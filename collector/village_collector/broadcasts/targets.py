"""From the targets that a person chose to the commands that are sent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from village_wire.areas import contains
from village_wire.commands import Target


@dataclass(frozen=True, slots=True)
class Order:
    """One command of a broadcast: its id and for whom it is."""

    command: UUID
    target: Target


def plan(
    broadcast: UUID, targets: Sequence[Target], areas: Mapping[str, str], new_id: Callable[[], UUID]
) -> list[Order]:
    """Return the commands of a broadcast to some targets; `areas` are those of the agents among them.

    No loudspeaker is meant twice: a target within another one is left out. All commands have the broadcast's id, except the second and
    further devices of one agent: an agent carries out each id once.
    """
    kept: list[Target] = []
    for target in dict.fromkeys(targets):
        others = (other for other in targets if other != target)
        if not any(_within(target, other, areas) for other in others):
            kept.append(target)
    orders: list[Order] = []
    reached: set[str] = set()
    for target in kept:
        again = target.agent in reached
        if target.agent is not None:
            reached.add(target.agent)
        orders.append(Order(new_id() if again else broadcast, target))
    return orders


def agents_of(targets: Iterable[Target]) -> set[str]:
    """Return the agents that the targets name."""
    return {target.agent for target in targets if target.agent is not None}


def _within(inner: Target, outer: Target, areas: Mapping[str, str]) -> bool:
    if outer.area is not None:
        area = inner.area if inner.area is not None else areas.get(inner.agent or "")
        return bool(area) and contains(outer.area, str(area))
    return outer.device is None and outer.agent == inner.agent
