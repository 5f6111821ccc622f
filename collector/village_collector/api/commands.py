"""Issuing commands and following their results."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, NotRequired
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from village_collector.api.access import Caller, Viewer
from village_collector.api.common import CommandPath, Limit, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.api.targets import TargetRequest, expanded_to_one
from village_collector.commands import (
    MAX_WAIT,
    CommandProblem,
    CommandReport,
    NoSuchAbility,
    NotSent,
    TooManyWaiters,
    UnknownTarget,
    state_of,
)
from village_collector.people.rights import Right, within
from village_collector.stores.command_records import CommandRecord, ResultRecord
from village_wire.commands import ABILITIES, Arguments, Target

router = APIRouter(tags=["commands"])

_DIGITS = re.compile(r"[0-9]+(-[gh0-9-]*)?", re.ASCII)

#: Kind of command -> the right that it needs in the whole of its target.
RIGHTS_OF_KINDS: Mapping[str, Right] = {
    "stop": "broadcast",
    "broadcast": "broadcast",
    "withdraw": "broadcast",
    "unlock": "unlock",
    "switch": "maintain",
    "snapshot": "look",
    "indicate": "maintain",
}

#: Kind of command -> its name in the audit log.
ACTIONS: Mapping[str, str] = {
    "stop": "broadcast.stop",
    "broadcast": "broadcast.issue",
    "withdraw": "broadcast.withdraw",
    "unlock": "door.unlock",
    "switch": "switch.set",
    "snapshot": "camera.snapshot",
    "indicate": "indicator.set",
}


#: Kinds that are more than a command, and so are never issued as one alone.
NOT_ALONE: Mapping[str, str] = {
    "snapshot": "take pictures with POST /api/v1/cameras/{agent}/{device}/snapshot",
    "broadcast": "issue broadcasts with POST /api/v1/broadcasts",
    "withdraw": "withdraw broadcasts with POST /api/v1/broadcasts/{broadcast}/withdraw",
}


class CommandRequest(BaseModel):
    """What to do, where, and for how long."""

    model_config = ConfigDict(extra="forbid")

    target: TargetRequest = Field(
        description="One agent, one device of an agent, or an area; tags narrow it. 目标：代理、设备或区域，可用标签限定。"
    )
    arguments: Arguments = Field(description="Kind and arguments. 命令类型及参数。")
    expires_in: float = Field(
        default=60.0, allow_inf_nan=False, description="Seconds until nobody carries it out. 有效期（秒）。"
    )


class Place(TypedDict):
    """A device that is to answer."""

    agent: str
    device: str


class ResultEntry(Place):
    """The latest answer of a device."""

    outcome: str
    reason: str
    result: dict[str, Any]
    time: str


class Counts(TypedDict):
    """Numbers of devices: expected, those that answered, those whose answer is final."""

    expected: int
    answered: int
    final: int


class CommandEntry(TypedDict):
    """A command as lists show it. `sent` is false when the broker did not confirm it; `problem` says why."""

    id: str
    issued: str
    expires: str
    issuer: str
    target: dict[str, Any]
    arguments: dict[str, Any]
    state: str
    sent: bool | None
    problem: str
    counts: Counts


class CommandDocument(CommandEntry):
    """`village.command/1`. `others` are answers of devices that were not in the inventory at the time of issue."""

    schema: str
    expected: list[Place]
    results: list[ResultEntry]
    others: NotRequired[list[ResultEntry]]


class CommandsDocument(TypedDict):
    """`village.commands/1`."""

    schema: str
    commands: list[CommandEntry]


@router.post(
    "/commands",
    status_code=202,
    response_model=CommandDocument,
    summary="Issue a command",
    openapi_extra={
        "x-right-by-kind": {kind: right for kind, right in RIGHTS_OF_KINDS.items() if kind not in NOT_ALONE}
    },
)
async def issue(deps: Provided, caller: Viewer, request: CommandRequest) -> Response:
    """Signed, stored, and sent once; it is carried out at most once and never after its expiry.

    Beside `view` it needs the right of its kind in the whole target (`x-right-by-kind`). The issuer is who calls.
    已签名、存储并只发送一次；最多执行一次，过期后绝不执行。须在目标全范围内具有相应权限，下发人即调用者。
    """
    if request.arguments.kind in NOT_ALONE:
        raise Problem(422, NOT_ALONE[request.arguments.kind], "bad_request")
    kind = request.arguments.kind
    target = await expanded_to_one(deps, caller, request.target, RIGHTS_OF_KINDS[kind], ABILITIES[kind], ACTIONS[kind])
    area = await check_target(deps, caller, target, kind)
    command = await issued(deps, caller, target, area, request.arguments, request.expires_in)
    return await _document(command, await deps.commands.report(command), 202)


@router.get("/commands/{command}", response_model=CommandDocument, summary="One command with its results")
async def command(
    deps: Provided,
    caller: Viewer,
    command: CommandPath,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Wait so many seconds for news. 等待秒数。")
    ] = 0.0,
    seen: Annotated[int, Query(ge=0, le=1_000_000, description="Number of results already known. 已知结果数。")] = 0,
) -> Response:
    """With `wait`: answers as soon as there is another number of results than `seen`, or the state is final.

    给出 wait 时：结果数与 seen 不同或状态已终结时立即返回。
    """
    try:
        scope = caller.areas("view")
        report = await (
            deps.commands.wait(command, seen, wait, scope) if wait > 0 else deps.commands.report(command, scope)
        )
    except TooManyWaiters as error:
        raise Problem(503, str(error), "too_many") from None
    return await _document(command, report)


@router.get("/commands", response_model=CommandsDocument, summary="Recent commands")
def commands(deps: Provided, caller: Viewer, limit: Limit = 100) -> Response:
    """The newest first, with counts instead of results.

    最近的命令，最新的在前，仅含统计。
    """
    now = deps.now()
    found = deps.control.recent_commands(limit, caller.areas("view"))
    entries = [_entry(record, state_of(record.progress, now)) for record in found]
    return answer("commands", {"commands": entries})


async def check_target(deps: Deps, caller: Caller, target: Target, kind: str, action: str = "") -> str:
    """Return the area of the target of a command, or of what is like one of this kind and has its own `action` in the audit log.

    Raises `Problem` 404 for a target that the caller may not see, as for an unknown one, and `Forbidden` without the right for it.
    """
    action, shown = action or ACTIONS[kind], shown_target(target)
    if target.area is not None:
        area = target.area
        seen = caller.areas("view")
        visible = seen is None or any(within(own, area) or within(area, own) for own in seen)
    else:
        known = await asyncio.to_thread(deps.control.agent_area, target.agent or "")
        area = known or ""
        visible = known is not None and caller.may("view", area)
    if not visible:
        reason = "outside the areas that this person sees" if area else "unknown target"
        await deps.audit.refused(caller.person, caller.address, action, target=shown, area=area, reason=reason)
        raise unknown_target(target)
    caller.check(RIGHTS_OF_KINDS[kind], area, action, shown)
    return area


def shown_target(target: Target) -> str:
    """Return a target as the audit log names it: an area, an agent, or `agent/device`; with its tags."""
    return str(target)


async def issued(
    deps: Deps,
    caller: Caller,
    target: Target,
    area: str,
    arguments: Arguments,
    expires_in: float,
    *,
    command: UUID | None = None,
) -> UUID:
    """Issue a command, recorded in the audit log before it is sent; its errors become problems."""
    identity = command or deps.commands.new_id()
    act, shown = (caller.person, caller.address, ACTIONS[arguments.kind]), shown_target(target)
    record = partial(deps.audit.record, *act, target=shown, area=area, command=str(identity))
    try:
        return await deps.commands.issue(
            target, arguments, caller.person, expires_in, command=identity, before_sending=record
        )
    except CommandProblem as error:
        await deps.audit.failed(*act, target=shown, area=area, reason=str(error), command=str(identity))
        raise _problem(error) from None


def unknown_target(target: Target) -> Problem:
    """Return the answer for a target that is not there, or that the caller must not know. An area code that is too short reads as an agent."""
    looks_like_area = target.area is None and target.device is None and _DIGITS.fullmatch(target.agent or "")
    return Problem(404, str(UnknownTarget.of(target)), "area_digits" if looks_like_area else "unknown")


def _problem(error: CommandProblem) -> Problem:
    if isinstance(error, UnknownTarget):
        return Problem(404, str(error), "unknown")
    if isinstance(error, NoSuchAbility):
        return Problem(409, str(error), "no_ability")
    if isinstance(error, NotSent):
        return Problem(503, f"the command was not sent: {error}", "broker", command=str(error.command))
    return Problem(422, str(error), "bad_request")


async def _document(command: UUID, report: CommandReport | None, status: int = 200) -> Response:
    if report is None:
        raise Problem(404, f"no command {command}", "unknown")
    # The answers of 10,000 devices take a quarter of a second to write.
    return await asyncio.to_thread(_written, report, status)


def _written(report: CommandReport, status: int) -> Response:
    content = {
        **_entry(report.record, report.state),
        "expected": [place._asdict() for place in report.expected],
        "results": [_result(result) for result in report.results],
    }
    if report.others:
        content["others"] = [_result(result) for result in report.others]
    return answer("command", content, status)


def _entry(record: CommandRecord, state: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "issued": record.issued,
        "expires": record.expires,
        "issuer": record.issuer,
        "target": record.target,
        "arguments": record.arguments,
        "state": state,
        "sent": record.sent,
        "problem": record.problem,
        "counts": {
            "expected": record.progress.expected,
            "answered": record.progress.answered,
            "final": record.progress.final,
        },
    }


def _result(result: ResultRecord) -> dict[str, Any]:
    return result._asdict()
