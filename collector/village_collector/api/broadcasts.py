"""Broadcasts: issued, watched, withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from village_collector.api.access import Broadcaster, Caller, Viewer
from village_collector.api.broadcast_documents import BroadcastDocument, BroadcastsDocument, listed, written
from village_collector.api.commands import check_target, shown_target, unknown_target
from village_collector.api.common import BroadcastPath, Limit, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.api.targets import TargetRequest, expanded
from village_collector.broadcasts.service import MAX_WAIT, Report
from village_collector.commands import CommandProblem, NotSent, TooManyWaiters, with_tags
from village_collector.stores.broadcast_records import Nobody
from village_wire.broadcasts import Audio, Category, Class, Track
from village_wire.clocks import Instant
from village_wire.commands import ABILITIES, MAX_SPOKEN, Broadcast, Target
from village_wire.events import first_problem

router = APIRouter(tags=["broadcasts"])

#: More places than a person chooses one by one; whole areas count as one.
MAX_TARGETS = 100
DEFAULT_LIFE = 60.0
#: A start so long ago is a slow request or another clock; what is older would be heard at a time that nobody asked for.
LATENESS = timedelta(minutes=1)


class TrackRequest(Track):
    """A recording on the loudspeakers' own cards; folder 0 is for tracks without a folder."""

    model_config = ConfigDict(extra="forbid")

    def wanted(self) -> Track:
        """Return it as the wire has it."""
        return Track(folder=self.folder, number=self.number)


class BroadcastRequest(BaseModel):
    """What is to be heard, where, and when."""

    model_config = ConfigDict(extra="forbid")

    targets: list[TargetRequest] = Field(
        min_length=1, max_length=MAX_TARGETS, description="Areas, agents, devices, tags. 目标。"
    )
    rank: Class = Field(default="notice", description="Its class. 类别。")
    title: str = Field(default="", max_length=80, description="What it is called in lists. 标题。")
    text: str | None = Field(default=None, min_length=1, max_length=MAX_SPOKEN, description="To be spoken. 播报文本。")
    audio: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of a file of PUT /audio. 音频文件。"
    )
    track: TrackRequest | None = Field(default=None, description="A track of the loudspeakers' own cards. 存储卡曲目。")
    start: Instant | None = Field(default=None, description="When it begins; at once if left out. 开始时间。")
    end: Instant | None = Field(default=None, description="It never begins later. 截止时间。")
    expires_in: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        le=604_800,
        description="In place of `end`: seconds after its start. 有效期。",
    )
    times: int = Field(default=1, ge=1, le=100, description="How often it is heard. 播放次数。")
    pause: float = Field(default=0.0, ge=0, le=3600, allow_inf_nan=False, description="Seconds between. 间隔秒数。")
    volume: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, description="Percent. 音量。")
    chime: bool = Field(default=True, description="With an opening chime. 开场提示音。")
    category: Category | None = Field(default=None, description="What it is about. 内容类别。")


class WithdrawalRequest(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=200, description="Told to the agents. 原因。")


@router.post("/broadcasts", status_code=202, response_model=BroadcastDocument, summary="Issue a broadcast")
async def issue(deps: Provided, caller: Broadcaster, request: BroadcastRequest) -> Response:
    """A text, a sound file or a track of their own cards, on all loudspeakers of the targets; needs `broadcast` in each of them.

    Every loudspeaker is meant once, however the targets overlap. Agents that are away are sent it when they come back before its end.
    向目标内所有扬声器播报文本、音频或其存储卡曲目；须在每个目标内具有播报权限。离线代理在截止前恢复连接时会补发。
    """
    targets = await expanded(deps, caller, request.targets, "broadcast", ABILITIES["broadcast"], "broadcast.issue")
    areas = [await check_target(deps, caller, target, "broadcast") for target in targets]
    content = await _content(deps, request)
    broadcast = deps.broadcasts.new_id()
    named = list(zip(targets, areas, strict=True))
    try:
        await deps.broadcasts.issue(
            broadcast,
            targets,
            content,
            caller.person,
            lambda: record(deps, caller, "broadcast.issue", named, str(broadcast)),
        )
    except Nobody as error:
        place, area = error.target, dict(named).get(error.target, "")
        problem = await asyncio.to_thread(why_nobody, deps, place)
        await note_failed(deps, caller, "broadcast.issue", [(place, area)], str(broadcast), problem.detail)
        raise problem from None
    except CommandProblem as error:
        await note_failed(deps, caller, "broadcast.issue", named, str(broadcast), str(error))
        if isinstance(error, NotSent):
            raise Problem(503, f"the broadcast was not sent: {error}", "broker", broadcast=str(broadcast)) from None
        raise Problem(422, str(error), "bad_request") from None
    return await _document(caller, str(broadcast), await deps.broadcasts.report(broadcast), 202)


@router.get("/broadcasts", response_model=BroadcastsDocument, summary="Recent broadcasts")
def broadcasts(deps: Provided, caller: Viewer, limit: Limit = 100) -> Response:
    """The newest first, with counts of the loudspeakers in the caller's areas.

    最近的播报，最新的在前，含覆盖统计。
    """
    now = deps.now()
    found = deps.control.recent_broadcasts(limit, caller.areas("view"))
    return answer("broadcasts", {"broadcasts": [listed(record, now) for record in found]})


@router.get("/broadcasts/{broadcast}", response_model=BroadcastDocument, summary="One broadcast with its coverage")
async def broadcast(
    deps: Provided,
    caller: Viewer,
    broadcast: BroadcastPath,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT, allow_inf_nan=False, description="Wait so many seconds for news. 等待秒数。")
    ] = 0.0,
    seen: Annotated[int, Query(ge=0, le=2**31 - 1, description="The revision already known. 已知版本号。")] = 0,
) -> Response:
    """Coverage by area, and each loudspeaker in the caller's areas; with `wait` as soon as the revision is another one than `seen`.

    Heard are those of which a receipt says that the sound finished; of what is not known the reason is told.
    按区域统计覆盖情况并列出各扬声器；给出 wait 时，版本号与 seen 不同或状态已终结时立即返回。
    """
    scope = caller.areas("view")
    try:
        report = await (
            deps.broadcasts.wait(broadcast, seen, wait, scope) if wait > 0 else deps.broadcasts.report(broadcast, scope)
        )
    except TooManyWaiters as error:
        raise Problem(503, str(error), "too_many") from None
    return await _document(caller, str(broadcast), report)


@router.post("/broadcasts/{broadcast}/withdraw", response_model=BroadcastDocument, summary="Withdraw a broadcast")
async def withdraw(
    deps: Provided, caller: Broadcaster, broadcast: BroadcastPath, request: WithdrawalRequest | None = None
) -> Response:
    """Takes it away from every loudspeaker where it waits or sounds; needs `broadcast` in each of its targets.

    Agents that are away are told when they come back. 撤回播报；离线代理恢复连接后执行。
    """
    found = await asyncio.to_thread(deps.control.broadcast, str(broadcast), caller.areas("view"))
    if found is None:
        raise Problem(404, f"no broadcast {broadcast}", "unknown_broadcast")
    named = []
    for sent in found.targets:
        area = sent.target.area or await asyncio.to_thread(deps.control.agent_area, sent.target.agent or "") or ""
        caller.check("broadcast", area, "broadcast.withdraw", shown_target(sent.target))
        named.append((sent.target, area))
    reason = request.reason if request else ""
    await record(deps, caller, "broadcast.withdraw", named, found.id, reason)
    await deps.live.cut(broadcast, f"withdrawn by {caller.person}")
    try:
        await deps.broadcasts.withdraw(found, caller.person, reason)
    except NotSent as error:
        await note_failed(deps, caller, "broadcast.withdraw", named, found.id, str(error))
        raise Problem(
            503, f"the withdrawal is kept, but was not sent yet: {error}", "broker_retries", broadcast=found.id
        ) from None
    return await _document(caller, found.id, await deps.broadcasts.report(broadcast, caller.areas("view")))


async def _content(deps: Deps, request: BroadcastRequest) -> Broadcast:
    if request.end is not None and request.expires_in is not None:
        raise Problem(422, "either end or expires_in, not both", "bad_request")
    audio: Audio | None = None
    if request.audio is not None:
        audio = await deps.audio.find(request.audio)
        if audio is None:
            raise Problem(404, f"no sound file {request.audio}", "audio")
    now = deps.now()
    if request.start is not None and request.start < now - LATENESS:
        raise Problem(422, "the start has passed", "passed")
    life = timedelta(seconds=DEFAULT_LIFE if request.expires_in is None else request.expires_in)
    try:
        return Broadcast(
            rank=request.rank,
            title=request.title,
            text=request.text,
            audio=audio,
            track=request.track and request.track.wanted(),
            start=request.start,
            end=request.end or max(request.start or now, now) + life,
            times=request.times,
            pause=request.pause,
            volume=request.volume,
            chime=request.chime,
            category=request.category,
        )
    except ValidationError as error:
        raise Problem(422, first_problem(error), "bad_request") from None
    except OverflowError:
        raise Problem(422, "it would end after the year 9999", "bad_request") from None


async def record(
    deps: Deps, caller: Caller, action: str, named: list[tuple[Target, str]], broadcast: str, reason: str = ""
) -> None:
    """One entry for each target, so that each area's log shows it; they share one transaction."""
    await _of_each(deps.audit.record, caller, action, named, broadcast, reason)


async def note_failed(
    deps: Deps, caller: Caller, action: str, named: list[tuple[Target, str]], broadcast: str, reason: str
) -> None:
    """Record that an act came to nothing, for each target."""
    await _of_each(deps.audit.failed, caller, action, named, broadcast, reason)


async def _of_each(
    write: Callable[..., Awaitable[None]],
    caller: Caller,
    action: str,
    named: list[tuple[Target, str]],
    broadcast: str,
    reason: str,
) -> None:
    await asyncio.gather(
        *(
            write(
                caller.person,
                caller.address,
                action,
                target=shown_target(target),
                area=area,
                reason=reason,
                command=broadcast,
            )
            for target, area in named
        )
    )


def why_nobody(deps: Deps, target: Target) -> Problem:
    """Return the answer for a target without a loudspeaker. Blocks on the store."""
    control = deps.control
    if target.area is not None:
        known = control.has_agents_in(target.area)
    elif target.device is not None:
        known = control.has_device(target.agent or "", target.device)
    else:
        known = control.has_agent(target.agent or "")
    if not known:
        return unknown_target(target)
    place = shown_target(target.model_copy(update={"tags": ()}))
    return Problem(409, f"{place} has no loudspeaker{with_tags(target.tags)}", "no_ability")


async def _document(caller: Caller, broadcast: str, report: Report | None, status: int = 200) -> Response:
    if report is None:
        raise Problem(404, f"no broadcast {broadcast}", "unknown_broadcast")
    # 10,000 loudspeakers take a fifth of a second to write.
    return await asyncio.to_thread(written, caller, report, status)
