"""Which devices a command or a broadcast is for, as conditions on the inventories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, false, not_, or_, select

from village_collector.stores.tables import agents, devices
from village_wire.areas import prefix


def receivers_of(
    abilities: Sequence[str],
    area: str | None,
    agent: str | None,
    device: str | None,
    *columns: ColumnElement[Any],
    tags: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Select[Any]:
    """Return the query for columns of the devices with one of some abilities, in an area (with `agents` joined) or of an agent.

    `tags` and `without` are as in `village_wire.commands.Target`.
    """
    query = select(*columns).where(devices.c.removed.is_(None), has_one_of(abilities))
    if area is not None:
        query = query.join(agents, agents.c.agent == devices.c.agent).where(agents.c.area.startswith(prefix(area)))
    if agent is not None:
        query = query.where(devices.c.agent == agent)
    if device is not None:
        query = query.where(devices.c.device == device)
    if tags:
        query = query.where(carries(tags))
    if without:
        query = query.where(not_(carries(without)))
    return query


def has_one_of(abilities: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a device has one of some abilities."""
    return or_(false(), *(devices.c.abilities.contains(f" {ability} ", autoescape=True) for ability in abilities))


def carries(tags: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a device carries one of some tags."""
    return or_(false(), *(devices.c.tags.contains(f" {tag} ", autoescape=True) for tag in tags))
