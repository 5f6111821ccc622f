"""Health: which devices are unwell, since when, why, and what to do."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from village_collector.api.access import Viewer
from village_collector.api.common import AgentQuery, AreaQuery, answer
from village_collector.api.deps import Provided
from village_collector.health import collector_health, evaluate, summarise
from village_collector.health_model import CollectorHealth, HealthRow
from village_wire.clocks import format_time
from village_wire.states import Status

router = APIRouter(tags=["health"])


class Summary(TypedDict):
    """How many rows have each status."""

    ok: int
    degraded: int
    down: int
    unknown: int


class HealthDocument(TypedDict):
    """`village.health/1`."""

    schema: str
    generated: str
    summary: Summary
    collector: CollectorHealth
    devices: list[HealthRow]


@router.get("/health", response_model=HealthDocument, summary="Status of all devices")
async def health(
    deps: Provided,
    caller: Viewer,
    area: AreaQuery = None,
    agent: AgentQuery = None,
    status: Annotated[
        list[Status] | None, Query(max_length=4, description="Only rows of this status. 仅此状态。")
    ] = None,
) -> Response:
    """The worst first, then by area, agent and device. The summary counts the rows of all statuses, whatever `status` selects.

    The row of an agent itself (`device` is empty) has its buffer and what it lost. 最差的在前，其后按区域、代理、设备排序。
    汇总统计所有状态的行。代理自身的行（device 为空）含发件箱缓冲和丢失记录。
    """
    now = deps.now()
    buffers = await deps.buffers.read()
    records = await asyncio.to_thread(deps.control.health_records, area, agent, caller.areas("view"))
    rows = await asyncio.to_thread(evaluate, *records, now, deps.doubt, buffers)
    shown = rows if not status else [row for row in rows if row["status"] in status]
    return answer(
        "health",
        {
            "generated": format_time(now),
            "summary": summarise(rows),
            "collector": collector_health(deps.problems()),
            "devices": shown,
        },
    )
