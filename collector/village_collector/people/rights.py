"""Rights, the roles that hold them, and grants of roles within areas. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from village_wire.areas import contains

Right = Literal["view", "look", "broadcast", "unlock", "maintain", "administer"]
Role = Literal["viewer", "broadcaster", "door_keeper", "maintainer", "administrator"]

RIGHTS: tuple[Right, ...] = get_args(Right)
ROLES: tuple[Role, ...] = get_args(Role)

#: `look` is to see pictures; `maintain` is to switch relays, read refused messages, and add and revoke agents.
RIGHTS_OF: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({"view", "look"}),
    "broadcaster": frozenset({"view", "broadcast"}),
    "door_keeper": frozenset({"view", "look", "unlock"}),
    "maintainer": frozenset({"view", "look", "maintain"}),
    "administrator": frozenset(RIGHTS),
}


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A role within an area and all below it; `area` "" is everywhere."""

    role: Role
    area: str = ""


def may(grants: Iterable[Grant], right: Right, area: str) -> bool:
    """Tell whether a right is held in the whole of an area ("" is everywhere)."""
    return any(right in RIGHTS_OF[grant.role] and within(grant.area, area) for grant in grants)


def areas_of(grants: Iterable[Grant], right: Right) -> tuple[str, ...] | None:
    """Return the areas in which a right is held, none of them inside another; None is everywhere."""
    areas = {grant.area for grant in grants if right in RIGHTS_OF[grant.role]}
    if "" in areas:
        return None
    return tuple(sorted(area for area in areas if not any(other != area and contains(other, area) for other in areas)))


def within(outer: str, inner: str) -> bool:
    """Tell whether `inner` is `outer` or lies below it, where "" is everywhere."""
    return not outer or (bool(inner) and contains(outer, inner))
