"""Which live voices would sound on the same loudspeaker. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from village_wire.areas import contains
from village_wire.commands import Target


class Placed(NamedTuple):
    """A target and the area in which it lies."""

    target: Target
    area: str


def overlap(some: Iterable[Placed], others: Sequence[Placed]) -> bool:
    """Tell whether a loudspeaker may be meant by both."""
    return any(_meet(one, other) for one in some for other in others)


def topic_areas(targets: Iterable[Placed]) -> list[str]:
    """Return the areas on whose topics a voice is sent: the targets' own, but none within another, since agents hear all above them."""
    areas = {placed.area for placed in targets}
    return sorted(area for area in areas if not any(other != area and contains(other, area) for other in areas))


def _meet(one: Placed, other: Placed) -> bool:
    if one.target.area is not None and contains(one.area, other.area):
        return True
    if other.target.area is not None and contains(other.area, one.area):
        return True
    same_agent = one.target.agent is not None and one.target.agent == other.target.agent
    devices = {one.target.device, other.target.device}
    return same_agent and (None in devices or len(devices) == 1)
