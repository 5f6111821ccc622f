"""Targets as callers write them: a place, a place narrowed to tags, or tags alone, which stand for the caller's own areas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from village_collector.api.access import Caller
from village_collector.api.deps import Deps
from village_collector.api.problems import Problem
from village_collector.commands import with_tags
from village_collector.people.rights import Right, within
from village_wire.areas import Area, chain
from village_wire.commands import Target
from village_wire.events import first_problem
from village_wire.ids import AgentId, DeviceId
from village_wire.tags import MAX_TAGS, Tags, tagged


class TargetRequest(BaseModel):
    """An agent, one of its devices, or an area; `tags` narrow an agent or area to the devices that carry one of them.

    Tags alone mean all such devices wherever the caller may do what is asked for.
    """

    # A misspelt `tags` that was ignored would be heard in the whole area.
    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: AgentId | None = Field(default=None, description="An agent. 代理。")
    device: DeviceId | None = Field(default=None, description="One of its devices. 设备。")
    area: Area | None = Field(default=None, description="An area and all below it. 区域及其下级。")
    tags: Tags = Field(default=(), description="Only devices with one of these tags. 仅限带有其中任一标签的设备。")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.is_tags_alone:
            try:
                self.placed()
            except ValidationError as error:
                raise ValueError(first_problem(error).removeprefix("message: ")) from None
        return self

    @property
    def is_tags_alone(self) -> bool:
        """Whether it names no place."""
        return bool(self.tags) and self.agent is None and self.device is None and self.area is None

    def placed(self) -> Target:
        """Return it as it is sent to agents; raises pydantic's `ValidationError` for one that is no place."""
        return Target(agent=self.agent, device=self.device, area=self.area, tags=self.tags)


async def expanded(
    deps: Deps, caller: Caller, wanted: Iterable[TargetRequest], right: Right, abilities: Sequence[str], action: str
) -> list[Target]:
    """Return targets with their places, each once: tags alone become those areas of the caller's in which a device carries one.

    Raises:
        Problem: 422 for too many tags, 409 where no device with one of `abilities` carries any of the tags; that is in the audit log.
    """
    found: dict[Target, None] = {}
    named: set[str] = set()
    for one in wanted:
        named |= set(one.tags)
        if not one.is_tags_alone:
            found[one.placed()] = None
            continue
        scope = caller.areas(right)
        there = await asyncio.to_thread(deps.control.areas_with, abilities, one.tags, scope)
        if not there:
            shown = tagged("", one.tags)
            reason = f"where {caller.person} may do this there is no {abilities[0]}{with_tags(one.tags)}"
            await deps.audit.failed(caller.person, caller.address, action, target=shown, area="", reason=reason)
            raise Problem(409, reason, "no_tag")
        found |= dict.fromkeys(Target(area=area, tags=one.tags) for area in own_areas(scope, there))
    if len(named) > MAX_TAGS:
        raise Problem(422, f"more than {MAX_TAGS} different tags; name areas, agents or devices", "bad_request")
    return list(found)


async def expanded_to_one(
    deps: Deps, caller: Caller, wanted: TargetRequest, right: Right, abilities: Sequence[str], action: str
) -> Target:
    """Return a target with its place, for what goes to one place only; raises `Problem` as `expanded`, and 422 for tags in several areas."""
    places = await expanded(deps, caller, [wanted], right, abilities, action)
    if len(places) > 1:
        shown = ", ".join(str(place) for place in places[:5])
        raise Problem(
            422, f"this goes to one place, and {tagged('', wanted.tags)} is in several: {shown}", "bad_request"
        )
    return places[0]


def lasting(wanted: TargetRequest) -> Target:
    """Return the target of what stays for weeks; raises `Problem` 422 for tags alone, since the caller's areas may be others by then."""
    if wanted.is_tags_alone:
        raise Problem(422, "programmes need a place: an area or an agent, which tags may narrow", "bad_request")
    return wanted.placed()


def own_areas(scope: Sequence[str] | None, there: Iterable[str]) -> list[str]:
    """Return those areas of a scope in which something is; where the scope is everywhere, their provinces. Pure."""
    if scope is None:
        return sorted({chain(area)[-1] for area in there})
    known = list(there)
    return [own for own in scope if any(within(own, area) for area in known)]
