"""Live voice: announced, spoken, and listened to afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from typing_extensions import TypedDict

from village_collector.api.access import Broadcaster
from village_collector.api.broadcasts import MAX_TARGETS, note_failed, record, why_nobody
from village_collector.api.commands import check_target, shown_target
from village_collector.api.common import BroadcastPath, answer
from village_collector.api.deps import Provided
from village_collector.api.problems import Problem
from village_collector.api.targets import TargetRequest, expanded
from village_collector.commands import CommandProblem, NotSent
from village_collector.live.ogg import BadStream
from village_collector.live.overlap import Placed
from village_collector.live.places import FIRST_SECONDS, NotAnnounced, Taken, TooManySpeakers
from village_collector.live.service import Wish
from village_collector.stores.broadcast_records import Nobody
from village_wire.broadcasts import Category, Class
from village_wire.commands import ABILITIES, Target

router = APIRouter(tags=["broadcasts"])

#: Whoever still speaks learns that nobody listens.
_FINAL = {"Connection": "close"}


class LiveRequest(BaseModel):
    """Where a voice is to be heard."""

    model_config = ConfigDict(extra="forbid")

    targets: list[TargetRequest] = Field(
        min_length=1, max_length=MAX_TARGETS, description="Areas, agents, devices, tags. 目标。"
    )
    rank: Class = Field(default="notice", description="Its class. 类别。")
    title: str = Field(default="", max_length=80, description="What it is called in lists. 标题。")
    volume: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, description="Percent. 音量。")
    chime: bool = Field(default=True, description="With an opening chime. 开场提示音。")
    category: Category | None = Field(default=None, description="What it is about. 内容类别。")


class LiveDocument(TypedDict):
    """`village.live/1`: begin to send within so many seconds. Loudspeakers whose stage is `ready` in the broadcast's document listen."""

    schema: str
    id: str
    begin_within: float


class SpokenDocument(TypedDict):
    """`village.spoken/1`: what was sent. `reason` is why it ended, "" by the speaker's own will."""

    schema: str
    id: str
    seconds: float
    packets: int
    unsent: int
    reason: str


@router.post("/live", status_code=202, response_model=LiveDocument, summary="Announce live voice")
async def announce(deps: Provided, caller: Broadcaster, request: LiveRequest) -> Response:
    """All loudspeakers of the targets make ready; needs `broadcast` in each of them. The voice follows by `POST /live/{broadcast}/voice`.

    Each tells when its amplifier is on, its chime over, and it listens: `GET /broadcasts/{broadcast}` with `wait` shows it.
    Who speaks there at the same or a higher class keeps the place (409); a lower one is ended. 预告实时喊话，须在每个目标内具有播报权限。
    """
    targets = await expanded(deps, caller, request.targets, "broadcast", ABILITIES["broadcast"], "broadcast.live")
    areas = [await check_target(deps, caller, target, "broadcast") for target in targets]
    named = list(zip(targets, areas, strict=True))
    wish = Wish(request.rank, request.title, request.volume, request.chime, request.category)
    placed = [Placed(target, area) for target, area in named]
    note = partial(note_failed, deps, caller, "broadcast.live")
    try:
        identity = await deps.live.announce(
            placed, wish, caller.person, lambda id_: record(deps, caller, "broadcast.live", named, str(id_))
        )
    except Taken as error:
        await note(named, "", str(error))
        raise Problem(409, str(error), "live_taken") from None
    except TooManySpeakers as error:
        await note(named, "", str(error))
        raise Problem(503, str(error), "too_many") from None
    except Nobody as error:
        problem = await asyncio.to_thread(why_nobody, deps, error.target)
        await note([(error.target, dict(named).get(error.target, ""))], "", problem.detail)
        raise problem from None
    except CommandProblem as error:
        await note(named, "", str(error))
        if isinstance(error, NotSent):
            raise Problem(503, f"nobody was told of the voice: {error}", "broker") from None
        raise Problem(422, str(error), "bad_request") from None
    return answer("live", {"id": str(identity), "begin_within": FIRST_SECONDS}, 202)


@router.post(
    "/live/{broadcast}/voice",
    response_model=SpokenDocument,
    summary="Speak",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"audio/ogg": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def speak(deps: Provided, caller: Broadcaster, broadcast: BroadcastPath, request: Request) -> Response:
    """The body is Ogg Opus, mono, in frames of 20 ms, sent as it is spoken; its end is the end of the voice, and so are 2 s without any.

    Of whoever announced it, once. It is signed, sent to the agents, and recorded. 由预告者本人发送一次；请求体为实时 Ogg Opus 流。
    """
    try:
        speech = await deps.live.find(broadcast, caller.person)
    except NotAnnounced as error:
        told = f"no voice is expected as {broadcast}{': ' if str(error) else ''}{error}"
        raise _final(Problem(404, told, "live_unknown")) from None
    named = [(placed.target, placed.area) for placed in speech.targets]
    note = partial(note_failed, deps, caller, "broadcast.live_end", named, str(broadcast))
    try:
        spoken = await deps.live.speak(speech, _parts(request))
    except BadStream as error:
        await note(str(error))
        raise _final(Problem(422, str(error), "live_form")) from None
    except OSError as error:
        reason = f"the voice can't be recorded, so it was not sent: {error.strerror}"
        await note(reason)
        raise _final(Problem(503, reason, "store")) from None
    told = f"{spoken.seconds:.1f} s spoken"
    if spoken.reason:
        await note(f"{told}; {spoken.reason}")
    else:
        await record(deps, caller, "broadcast.live_end", named, str(broadcast), told)
    content = {
        "id": str(broadcast),
        "seconds": round(spoken.seconds, 2),
        "packets": spoken.packets,
        "unsent": spoken.unsent,
        "reason": spoken.reason,
    }
    told_all = answer("spoken", content)
    told_all.headers.update(_FINAL)
    return told_all


@router.get(
    "/live/{broadcast}/recording",
    summary="What was said live",
    response_class=Response,
    responses={200: {"content": {"audio/ogg": {}}, "description": "Ogg Opus, or the wanted range of it. 录音。"}},
)
async def recording(deps: Provided, caller: Broadcaster, broadcast: BroadcastPath) -> Response:
    """Needs `broadcast` in each of its targets, and is an act of the audit log itself.

    收听录音，须在其每个目标内具有播报权限。
    """
    found = await asyncio.to_thread(deps.control.broadcast, str(broadcast), caller.areas("view"))
    if found is None:
        raise Problem(404, f"no broadcast {broadcast}", "unknown_broadcast")
    named: list[tuple[Target, str]] = []
    for sent in found.targets:
        area = sent.target.area or await asyncio.to_thread(deps.control.agent_area, sent.target.agent or "") or ""
        caller.check("broadcast", area, "broadcast.recording", shown_target(sent.target))
        named.append((sent.target, area))
    absent = Problem(404, "there is no recording of this broadcast", "unknown_broadcast")
    if not await deps.live.has_recording(UUID(found.id)):
        raise absent
    await record(deps, caller, "broadcast.recording", named, found.id)
    try:
        kept = await deps.live.recording(UUID(found.id))
    except OSError as error:
        raise Problem(503, f"the recording can't be had from another collector: {error.strerror}", "store") from None
    if kept is None:
        raise absent
    path, is_copy = kept
    after = BackgroundTask(path.unlink, missing_ok=True) if is_copy else None
    return FileResponse(path, media_type="audio/ogg", filename=f"{found.id}.ogg", background=after)


def _final(problem: Problem) -> Problem:
    problem.headers.update(_FINAL)
    return problem


async def _parts(request: Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.stream():
            if part:
                yield part
    except ClientDisconnect:
        raise ConnectionError("the speaker is gone") from None
