"""From the targets that a person chose to the commands that are sent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from village_wire.areas import contains
from village_wire.commands import Target


@dataclass(frozen=True, slots=True)
class Order:
    """One command of a broadcast: its id and for whom it is."""

    command: UUID
    target: Target


class _Place(NamedTuple):
    """A target without its tags. Two places lie one in the other or have nothing in common."""

    area: str | None
    agent: str | None
    device: str | None


def plan(
    broadcast: UUID, targets: Sequence[Target], areas: Mapping[str, str], new_id: Callable[[], UUID]
) -> list[Order]:
    """Return the commands of a broadcast to some targets; `areas` are those of the agents among them.

    No loudspeaker is meant twice: a target within another one is left out, and what another one's tags reach is left out `without` them.
    An agent carries out each id once, so only the outermost commands have the broadcast's, and of several to devices of one agent the first.

    Raises `ValueError` (pydantic's) for more than `MAX_TAGS` different tags.
    """
    wanted = _by_place(targets)
    outer = {place: [other for other in wanted if other != place and _within(place, other, areas)] for place in wanted}
    orders: list[Order] = []
    reached: set[str | None] = set()
    # Outermost first.
    for place in sorted(wanted, key=lambda place: len(outer[place])):
        tags, covered = wanted[place], set[str]()
        if any(not wanted[other] for other in outer[place]):
            continue
        for other in outer[place]:
            covered |= wanted[other]
        if tags and tags <= covered:
            continue
        again = bool(covered) or place.agent in reached
        if place.agent is not None:
            reached.add(place.agent)
        target = Target.model_validate({**place._asdict(), "tags": tags - covered, "without": covered})
        orders.append(Order(new_id() if again else broadcast, target))
    return orders


def agents_of(targets: Iterable[Target]) -> set[str]:
    """Return the agents that the targets name."""
    return {target.agent for target in targets if target.agent is not None}


def _by_place(targets: Iterable[Target]) -> dict[_Place, set[str]]:
    """Return the tags that are wanted in each place; none at all where everything is."""
    found: dict[_Place, set[str]] = {}
    for target in targets:
        place = _Place(target.area, target.agent, target.device)
        before = found.setdefault(place, set(target.tags))
        if before and target.tags:
            before |= set(target.tags)
        else:
            before.clear()
    return found


def _within(inner: _Place, outer: _Place, areas: Mapping[str, str]) -> bool:
    if outer.area is not None:
        area = inner.area if inner.area is not None else areas.get(inner.agent or "")
        return bool(area) and contains(outer.area, str(area))
    return outer.device is None and outer.agent == inner.agent
