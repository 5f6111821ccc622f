"""Devices, and the readings of a device."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from village_collector.api.access import Viewer
from village_collector.api.common import AgentPath, AgentQuery, AreaQuery, DevicePath, Limit, TimeQuery, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.events import EventDocument, event_document
from village_collector.api.problems import Problem
from village_collector.buffers import AGENT_DEVICE
from village_collector.health import evaluate
from village_collector.health_model import Buffer, HealthRow
from village_collector.ports import Field, StoreUnavailable
from village_collector.stores.control_reads import Details, EventFilter, Scope
from village_wire.clocks import format_time
from village_wire.points import Value
from village_wire.tags import TAG_PATTERN

router = APIRouter(tags=["devices"])

#: Events on the page of one device.
_PAGE_EVENTS = 20
#: What a history shows when no start is given.
_DAY = timedelta(days=1)
_NO_DETAILS = Details((), "")

TagQuery = Annotated[
    str | None, Query(pattern=TAG_PATTERN, description="Only devices that carry this tag. 仅带此标签的设备。")
]
Name = Annotated[str, Query(pattern=r"^[a-z0-9_]{1,40}$")]


class DeviceEntry(HealthRow):
    """A health row with what the inventory says."""

    abilities: list[str]
    firmware: str
    tags: list[str]


class DevicesDocument(TypedDict):
    """`village.devices/1`."""

    schema: str
    devices: list[DeviceEntry]


class Reading(TypedDict):
    """The latest value of one field."""

    kind: str
    field: str
    value: Value
    time: str


class DeviceDocument(TypedDict):
    """`village.device/1`. `readings_problem` is empty, or tells why `readings` are missing."""

    schema: str
    device: DeviceEntry
    readings: list[Reading]
    readings_problem: str
    events: list[EventDocument]


class HistoryDocument(TypedDict):
    """`village.history/1`. A sample is its time and its value."""

    schema: str
    agent: str
    device: str
    kind: str
    field: str
    samples: list[tuple[str, Value]]


@router.get("/devices", response_model=DevicesDocument, summary="All devices")
def devices(
    deps: Provided, caller: Viewer, area: AreaQuery = None, agent: AgentQuery = None, tag: TagQuery = None
) -> Response:
    """Devices of the inventories with their health, in its order; with `tag` those that carry it.

    设备清单及其健康状态，可按标签筛选。
    """
    found = [entry for entry in _entries(deps, caller.areas("view"), area, agent) if entry["device"]]
    if tag is not None:
        found = [entry for entry in found if tag in entry["tags"]]
    return answer("devices", {"devices": found})


@router.get("/devices/{agent}/{device}", response_model=DeviceDocument, summary="One device")
async def device(deps: Provided, caller: Viewer, agent: AgentPath, device: DevicePath) -> Response:
    """Its health, the latest reading of each field, and its last 20 events. Device `agent` is the agent itself.

    单个设备：健康、最新读数、最近 20 条事件。设备编号 agent 指代理自身。
    """
    own = device == AGENT_DEVICE
    buffers = await deps.buffers.read() if own else {}
    scope = caller.areas("view")
    entries = await asyncio.to_thread(_entries, deps, scope, None, agent, buffers)
    entry = next((entry for entry in entries if entry["device"] == ("" if own else device)), None)
    if entry is None:
        raise Problem(404, f"{agent} has no device {device}", "unknown")
    wanted = EventFilter(agent=agent, device=None if own else device, own=own, scope=scope)
    page = await asyncio.to_thread(deps.control.events, wanted, _PAGE_EVENTS)
    readings: list[dict[str, Any]] = []
    problem = ""
    try:
        readings = [
            {"kind": field.kind, "field": field.name, "value": field.latest.value, "time": field.latest.time}
            for field in await deps.telemetry.fields(agent, device)
        ]
    except StoreUnavailable as error:
        # How the device is and what happened to it can be told all the same.
        problem = str(error)
    events = [event_document(event) for event in page.events]
    return answer("device", {"device": entry, "readings": readings, "readings_problem": problem, "events": events})


@router.get(
    "/devices/{agent}/{device}/history", response_model=HistoryDocument, summary="Readings of one field over time"
)
async def history(
    deps: Provided,
    caller: Viewer,
    agent: AgentPath,
    device: DevicePath,
    field: Name,
    kind: Name | None = None,
    start: TimeQuery | None = None,
    end: TimeQuery | None = None,
    limit: Limit = 500,
) -> Response:
    """Samples in [start, end), oldest first; the last day if nothing is given. More than `limit` are thinned.

    `kind` may be left out when only one kind of the device has the field. 单个字段的历史读数，超过 limit 时抽稀。
    """
    last = end or deps.now()
    first = start or last - _DAY
    if first >= last:
        raise Problem(422, "start must be before end", "bad_request")
    area = await asyncio.to_thread(deps.control.agent_area, agent)
    visible = caller.may("view", area or "")
    known = await deps.telemetry.fields(agent, device) if visible else ()
    found = _kind_of(known, f"{agent}/{device}", field, kind)
    samples = await deps.telemetry.history(agent, device, found, field, first, last, limit)
    # The mean of numbers near the end of the range is infinite, which JSON has no form for.
    shown = [(format_time(sample.time), sample.value) for sample in samples if math.isfinite(sample.value)]
    return answer("history", {"agent": agent, "device": device, "kind": found, "field": field, "samples": shown})


def _entries(
    deps: Deps, scope: Scope, area: str | None, agent: str | None, buffers: Mapping[str, Buffer] | None = None
) -> list[dict[str, Any]]:
    rows = evaluate(*deps.control.health_records(area, agent, scope), deps.now(), deps.doubt, buffers)
    details = deps.control.details(area, agent, scope)
    entries: list[dict[str, Any]] = []
    for row in rows:
        known = details.get((row["agent"], row["device"]), _NO_DETAILS)
        entries.append({**row, **known._asdict()})
    return entries


def _kind_of(known: Sequence[Field], device: str, field: str, kind: str | None) -> str:
    kinds = [entry.kind for entry in known if entry.name == field and kind in {None, entry.kind}]
    if len(kinds) == 1:
        return kinds[0]
    fields = ", ".join(f"{entry.kind}.{entry.name}" for entry in known) or "none"
    if kinds:
        raise Problem(422, f"{device}: several kinds have {field}: {', '.join(kinds)}; give kind", "bad_request")
    raise Problem(
        404, f"{device} has no field {field if kind is None else f'{kind}.{field}'}; it has: {fields}", "unknown"
    )
