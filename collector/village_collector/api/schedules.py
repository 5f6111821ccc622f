"""Schedules: what agents play by themselves, and what was heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from village_collector.api.access import Broadcaster, Viewer
from village_collector.api.broadcasts import TrackRequest, why_nobody
from village_collector.api.commands import check_target, shown_target
from village_collector.api.common import AreaQuery, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.api.targets import TargetRequest, lasting
from village_collector.people.rights import within
from village_collector.schedules.publicity import totals
from village_collector.stores.publicity_records import month_of
from village_collector.stores.schedule_records import ScheduleRecord
from village_wire.areas import contains
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES, Category
from village_wire.commands import MAX_SPOKEN, Target
from village_wire.events import first_problem
from village_wire.recurrence import InvalidRecurrence, Recurrence
from village_wire.schedules import (
    MAX_ITEMS,
    MAX_PROGRAMMES,
    MAX_SECONDS,
    InvalidSchedule,
    Item,
    Programme,
    ProgrammeClass,
    ProgrammeId,
)

router = APIRouter(tags=["schedules"])

#: How far ahead the next times of a programme are looked for.
_AHEAD = timedelta(days=366)


class ItemRequest(BaseModel):
    """One piece of a playlist."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, min_length=1, max_length=MAX_SPOKEN, description="To be spoken. 播报文本。")
    audio: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of a file of PUT /audio. 音频文件。"
    )
    track: TrackRequest | None = Field(default=None, description="A track of the loudspeakers' own cards. 存储卡曲目。")


class ProgrammeRequest(BaseModel):
    """A playlist and when it is due."""

    model_config = ConfigDict(extra="forbid")

    id: ProgrammeId = Field(description="Unique within its target. 节目编号。", examples=["morning"])
    title: str = Field(min_length=1, max_length=80, description="What it is called. 标题。")
    category: Category = Field(default="other", description="What it is about. 内容类别。")
    rank: ProgrammeClass = Field(default="routine", description="Its class. 等级。")
    when: Recurrence = Field(description="When it is due (RFC 5545). 播放时间规则。")
    items: list[ItemRequest] = Field(min_length=1, max_length=MAX_ITEMS, description="The playlist. 播放列表。")
    volume: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, description="Percent. 音量。")
    chime: bool = Field(default=True, description="With an opening chime. 开场提示音。")
    max_seconds: int = Field(
        default=3600, ge=10, le=MAX_SECONDS, description="No piece begins later after its time. 最长时长（秒）。"
    )


class ScheduleRequest(BaseModel):
    """Programmes that a target is to have."""

    model_config = ConfigDict(extra="forbid")

    target: TargetRequest = Field(
        description="An area, an agent or a loudspeaker; tags narrow an area or agent. 目标，可用标签限定。"
    )
    programmes: list[ProgrammeRequest] = Field(max_length=MAX_PROGRAMMES, description="Programmes. 节目。")
    replace: bool = Field(default=False, description="Remove all others of this target. 替换该目标的全部节目。")


class RemovalRequest(BaseModel):
    """Programmes that a target is not to have any more."""

    model_config = ConfigDict(extra="forbid")

    target: TargetRequest = Field(
        description="An area, an agent or a loudspeaker; tags narrow an area or agent. 目标，可用标签限定。"
    )
    programmes: list[ProgrammeId] = Field(min_length=1, max_length=MAX_PROGRAMMES, description="Ids. 节目编号。")


class ProgrammeEntry(TypedDict):
    """A programme; `next` are its next times, at most five within a year."""

    id: str
    title: str
    category: str
    rank: str
    when: dict[str, Any]
    items: list[dict[str, Any]]
    volume: float | None
    chime: bool
    max_seconds: int
    next: list[str]


class ScheduleEntry(TypedDict):
    """All programmes of a target. `number` is that of the signed document, which grows with each change."""

    target: dict[str, Any]
    number: int
    changed: str
    by: str
    programmes: list[ProgrammeEntry]


class ScheduleDocument(ScheduleEntry):
    """`village.schedule/1`; `loudspeakers` is how many the target has at present."""

    schema: str
    loudspeakers: int


class SchedulesDocument(TypedDict):
    """`village.schedules/1`."""

    schema: str
    schedules: list[ScheduleEntry]


class CategoryEntry(TypedDict):
    """`minutes` is the mean of the area's loudspeakers, `loudspeaker_minutes` their sum."""

    category: str
    minutes: float
    loudspeaker_minutes: float
    plays: int


class AreaReport(TypedDict):
    """What an area heard; `heard` is how many of its loudspeakers sounded at all."""

    area: str
    loudspeakers: int
    heard: int
    categories: list[CategoryEntry]


class PublicityDocument(TypedDict):
    """`village.publicity/1`."""

    schema: str
    month: str
    areas: list[AreaReport]


@router.get("/schedules", response_model=SchedulesDocument, summary="What is played by the calendar")
def schedules(deps: Provided, caller: Viewer, area: AreaQuery = None) -> Response:
    """Schedules of the caller's areas, of those above them, and of agents there; `area` limits them to that area, those above and below it.

    调用者所辖区域、其上级区域及区域内代理的节目表。
    """
    scope = caller.areas("view")
    found = [record for record in deps.control.schedules() if record.schedule.programmes]
    places = deps.control.areas_of_agents({one.schedule.target.agent for one in found if one.schedule.target.agent})
    shown = []
    for record in found:
        target = record.schedule.target
        place = target.area or places.get(target.agent or "", "")
        above = target.area is not None
        if scope is not None and not any(_concerns(place, own, above=above) for own in scope):
            continue
        if area is None or _concerns(place, area, above=above):
            shown.append(_entry(deps, record))
    return answer("schedules", {"schedules": shown})


@router.post("/schedules", response_model=ScheduleDocument, summary="Add or change programmes")
async def change(deps: Provided, caller: Broadcaster, request: ScheduleRequest) -> Response:
    """Programmes whose ids are known are replaced, the others added. Agents keep them and play them without a link.

    Needs `broadcast` in the whole target. 新增或修改节目；代理本地保存，断网后继续播放。
    """
    target = lasting(request.target)
    area = await check_target(deps, caller, target, "broadcast", action="schedule.change")
    if target.device is not None and request.programmes and not await asyncio.to_thread(_loudspeakers, deps, target):
        problem = await asyncio.to_thread(why_nobody, deps, target)
        await deps.audit.failed(
            caller.person,
            caller.address,
            "schedule.change",
            target=shown_target(target),
            area=area,
            reason=problem.detail,
        )
        raise problem
    programmes = [await _programme(deps, one) for one in request.programmes]
    ids = [programme.id for programme in programmes]
    if len(set(ids)) < len(ids):
        raise Problem(422, "two programmes have the same id", "bad_request")

    def changed(before: Sequence[Programme]) -> Iterable[Programme]:
        if request.replace:
            return programmes
        kept = {programme.id: programme for programme in before}
        return (kept | {programme.id: programme for programme in programmes}).values()

    act = (caller.person, caller.address, "schedule.change")
    shown = shown_target(target)
    told = f"{'in place of all: ' if request.replace else ''}{', '.join(ids)}"[:200]
    await deps.audit.record(*act, target=shown, area=area, reason=told)
    try:
        record = await deps.schedules.change(target, changed, caller.person)
    except ValueError as error:
        reason = _reason(error)
        await deps.audit.failed(*act, target=shown, area=area, reason=reason)
        raise Problem(422, reason, "bad_request") from None
    return await asyncio.to_thread(_document, deps, record)


@router.post("/schedules/remove", response_model=ScheduleDocument, summary="Remove programmes")
async def remove(deps: Provided, caller: Broadcaster, request: RemovalRequest) -> Response:
    """What sounds of them falls silent where an agent is connected; one that is away goes on until it comes back.

    删除节目；在线代理立即停止播放，离线代理恢复连接后生效。
    """
    target = lasting(request.target)
    area = await check_target(deps, caller, target, "broadcast", action="schedule.remove")
    known = {record.schedule.target: record for record in await asyncio.to_thread(deps.control.schedules)}
    record = known.get(target)
    there = {programme.id for programme in record.schedule.programmes} if record else set()
    missing = [one for one in request.programmes if one not in there]
    if missing:
        raise Problem(404, f"no programme {missing[0]} for {shown_target(target)}", "unknown_programme")
    act = (caller.person, caller.address, "schedule.remove")
    told = ", ".join(request.programmes)[:200]
    await deps.audit.record(*act, target=shown_target(target), area=area, reason=told)
    gone = set(request.programmes)
    record = await deps.schedules.change(
        target, lambda before: [one for one in before if one.id not in gone], caller.person
    )
    return await asyncio.to_thread(_document, deps, record)


@router.get("/reports/publicity", response_model=PublicityDocument, summary="Minutes heard by area and category")
def publicity(
    deps: Provided,
    caller: Viewer,
    month: Annotated[str, Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="As 2026-11. 月份。")],
    area: AreaQuery = None,
) -> Response:
    """From receipts alone: an area counts as the mean of its loudspeakers, silent ones included. Months are of China's time.

    仅据回执统计；区域时长为其全部扬声器（含未播出的）的平均值，月份按北京时间。
    """
    if month > month_of(deps.now()):
        raise Problem(422, f"{month} has not begun", "future_month")
    scope = caller.areas("view")
    found = totals(
        deps.control.publicity(month, area, scope),
        deps.control.loudspeakers_by_area(area, scope),
    )
    areas = [{**one._asdict(), "categories": [each._asdict() for each in one.categories]} for one in found]
    return answer("publicity", {"month": month, "areas": areas})


async def _programme(deps: Deps, request: ProgrammeRequest) -> Programme:
    try:
        await asyncio.to_thread(request.when.check_zone)
    except InvalidRecurrence as error:
        raise Problem(422, f"programme {request.id}: {error}", "bad_request") from None
    items = []
    for one in request.items:
        audio = None if one.audio is None else await deps.audio.find(one.audio)
        if one.audio is not None and audio is None:
            raise Problem(404, f"no sound file {one.audio}", "audio")
        try:
            items.append(Item(text=one.text, audio=audio, track=one.track and one.track.wanted()))
        except ValidationError as error:
            raise Problem(422, f"programme {request.id}: {first_problem(error)}", "bad_request") from None
    return Programme(
        id=request.id,
        title=request.title,
        category=request.category,
        rank=request.rank,
        when=request.when,
        items=tuple(items),
        volume=request.volume,
        chime=request.chime,
        max_seconds=request.max_seconds,
    )


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return first_problem(error)
    return str(error) if isinstance(error, InvalidSchedule) else "it can't be signed"


def _concerns(place: str, area: str, *, above: bool) -> bool:
    """Whether what is for a place concerns an area: it lies there, or the place is an area that holds it."""
    return bool(place) and (within(area, place) or (above and contains(place, area)))


def _document(deps: Deps, record: ScheduleRecord) -> Response:
    return answer("schedule", {**_entry(deps, record), "loudspeakers": _loudspeakers(deps, record.schedule.target)})


def _loudspeakers(deps: Deps, target: Target) -> int:
    """Return how many loudspeakers a target has at present. Blocks on the store."""
    place = {"area": target.area, "agent": target.agent, "device": target.device}
    return len(deps.control.receivers(LOUDSPEAKER_ABILITIES, **place, tags=target.tags))


def _entry(deps: Deps, record: ScheduleRecord) -> dict[str, Any]:
    now = deps.now()
    return {
        "target": record.schedule.target.model_dump(exclude_none=True),
        "number": record.schedule.number,
        "changed": record.changed,
        "by": record.by,
        "programmes": [
            {
                **programme.model_dump(mode="json", exclude={"items"}),
                "items": [_item(item) for item in programme.items],
                "next": programme.when.between(now, now + _AHEAD)[:5],
            }
            for programme in record.schedule.programmes
        ],
    }


def _item(item: Item) -> dict[str, Any]:
    if item.track is not None:
        return {"track": item.track.model_dump()}
    if item.audio is None:
        return {"text": item.text}
    return {"audio": item.audio.sha256, "seconds": item.audio.seconds}
