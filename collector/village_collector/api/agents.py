"""Agents: which there are, which may connect, and their end."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.api.access import Maintainer, Viewer
from village_collector.api.common import AgentPath, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.stores.control_reads import AgentSummary
from village_collector.stores.identity_reads import Identity
from village_collector.trust.enrolment import DEFAULT_HOURS, MAX_HOURS, RESERVED
from village_wire.areas import Area
from village_wire.ids import AgentId

router = APIRouter(tags=["agents"])


class AgentEntry(TypedDict):
    """One agent. `online` is null until its first status.

    `enrolled` is when it first got a certificate, `certificate_expires` the end of its newest, `revoked` when it was declared lost;
    `token_expires` is the end of a token that no box has used yet.
    """

    agent: str
    area: str
    online: bool | None
    session: str | None
    version: str | None
    since: str | None
    last_seen: str | None
    devices: int
    enrolled: str | None
    revoked: str | None
    certificate_expires: str | None
    token_expires: str | None


class AgentsDocument(TypedDict):
    """`village.agents/1`."""

    schema: str
    agents: list[AgentEntry]


class AgentDocument(AgentEntry):
    """`village.agent/1`."""

    schema: str


class AgentRequest(BaseModel):
    """A box that is to become an agent, or to take an agent's place."""

    model_config = ConfigDict(extra="forbid")

    agent: AgentId = Field(description="Id of the agent. 代理编号。", examples=["gate-1"])
    area: Area = Field(description="Where the box stands. 所在区域。", examples=["441900003001"])
    hours: Annotated[int, Field(ge=1, le=MAX_HOURS)] = Field(
        DEFAULT_HOURS, description="How long the token can be used. 令牌有效小时数。"
    )


class AgentTokenDocument(TypedDict):
    """`village.agent-token/1`. `replaces`: there is such an agent, whose present box is shut out once the token is used."""

    schema: str
    agent: str
    area: str
    token: str
    expires: str
    url: str
    replaces: bool


@router.get("/agents", response_model=AgentsDocument, summary="All agents")
def agents(deps: Provided, caller: Viewer) -> Response:
    """By area and id, with those that have only a token so far.

    `since` is when the collector first heard of the present condition. 按区域和编号排序，包括仅有令牌尚未连接的代理。
    """
    known = deps.control.known_identities(deps.now())
    summaries = deps.control.agent_summaries(caller.areas("view"))
    entries = [_entry(summary, known.pop(summary.agent, None)) for summary in summaries]
    entries += [_entry(None, identity) for identity in known.values() if caller.may("view", identity.area)]
    entries.sort(key=lambda entry: (entry["area"], entry["agent"]))
    return answer("agents", {"agents": entries})


@router.post("/agents", status_code=201, response_model=AgentTokenDocument, summary="Add an agent")
async def add(deps: Provided, caller: Maintainer, request: AgentRequest) -> Response:
    """A one-time token for `village-agent enroll URL TOKEN` on the box.

    For an agent that exists it replaces the box once it is used. 生成一次性注册令牌；代理已存在时，令牌使用后替换原设备。
    """
    if request.agent.startswith(RESERVED):
        raise Problem(422, f"ids that begin with {RESERVED} are the collectors'", "bad_request")
    caller.check("maintain", request.area, "agent.add", request.agent)
    places = await asyncio.to_thread(_places, deps, request.agent)
    if places and not any(caller.may("view", area) for area in places):
        await deps.audit.refused(
            caller.person,
            caller.address,
            "agent.add",
            target=request.agent,
            area=request.area,
            reason="an agent of this name is outside the areas that this person sees",
        )
        raise Problem(409, f"the name {request.agent} is taken", "exists")
    for area in places:
        caller.check("maintain", area, "agent.add", request.agent)
    token, expires = await deps.enrolment.add(request.agent, request.area, request.hours, caller.person, caller.address)
    content = {
        "agent": request.agent,
        "area": request.area,
        "token": str(token),
        "expires": expires,
        "url": deps.public_url,
        "replaces": bool(places),
    }
    return answer("agent-token", content, 201)


@router.post("/agents/{agent}/revoke", response_model=AgentDocument, summary="Shut an agent out")
async def revoke(deps: Provided, caller: Maintainer, agent: AgentPath) -> Response:
    """Its certificates and tokens are worth nothing from now on; what it still sends is dropped.

    吊销代理的证书和令牌；此后其数据一律丢弃。
    """
    places = await asyncio.to_thread(_places, deps, agent)
    if not any(caller.may("view", area) for area in places):
        reason = "outside the areas that this person sees" if places else "unknown agent"
        await deps.audit.refused(caller.person, caller.address, "agent.revoke", target=agent, reason=reason)
        raise Problem(404, f"no agent {agent}", "unknown")
    for area in places:
        caller.check("maintain", area, "agent.revoke", agent)
    await deps.enrolment.revoke(agent, places[0], caller.person, caller.address)
    return answer("agent", await asyncio.to_thread(_one, deps, agent))


def _places(deps: Deps, agent: str) -> list[str]:
    """The areas of an agent: that of its certificate or token, and that which it tells; empty for an unknown one."""
    identity = deps.control.known_identities(deps.now(), agent).get(agent)
    told = deps.control.agent_area(agent)
    places = [place for place in (identity.area if identity else None, told) if place is not None]
    return list(dict.fromkeys(places))


def _one(deps: Deps, agent: str) -> dict[str, Any]:
    identity = deps.control.known_identities(deps.now(), agent).get(agent)
    summary = next((one for one in deps.control.agent_summaries() if one.agent == agent), None)
    return _entry(summary, identity)


def _entry(summary: AgentSummary | None, identity: Identity | None) -> dict[str, Any]:
    if summary is None:
        name, area = (identity.agent, identity.area) if identity else ("", "")
        summary = AgentSummary(name, area, None, None, None, None, None, 0)
    known = identity or Identity(summary.agent, summary.area)
    return {
        **summary._asdict(),
        "enrolled": known.enrolled,
        "revoked": known.revoked,
        "certificate_expires": known.expires,
        "token_expires": known.token_expires,
    }
