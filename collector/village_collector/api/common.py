"""Types of parameters with their limits, and the way every answer is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import AfterValidator, AwareDatetime

from village_collector.api.problems import ProblemDocument
from village_wire.areas import parse_area
from village_wire.clocks import format_time
from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN

#: Keeps an answer under some hundred kilobytes and its query short.
MAX_LIMIT = 1000
#: The longest area code: 12 digits, grid, household.
_MAX_AREA = 21

AgentPath = Annotated[str, Path(pattern=AGENT_PATTERN, description="Agent id. 代理编号。")]
DevicePath = Annotated[str, Path(pattern=DEVICE_PATTERN, description="Device id. 设备编号。")]
AgentQuery = Annotated[str | None, Query(pattern=AGENT_PATTERN, description="Only this agent. 仅此代理。")]
DeviceQuery = Annotated[str | None, Query(pattern=DEVICE_PATTERN, description="Only this device. 仅此设备。")]
AreaQuery = Annotated[
    Annotated[str, AfterValidator(parse_area)] | None,
    Query(max_length=_MAX_AREA, description="Only this area and all below it. 仅此区域及其下级。"),
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many. 最多返回条数。")]
TimeQuery = Annotated[AwareDatetime, AfterValidator(lambda time: time.astimezone(UTC))]
CommandPath = Annotated[UUID, Path(description="Command id. 命令编号。")]
BroadcastPath = Annotated[UUID, Path(description="Broadcast id. 播报编号。")]

#: For the OpenAPI document: every operation may answer with a problem.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemDocument, "description": "Problem document (RFC 9457). 错误说明。"},
}


def answer(name: str, content: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON answer of schema `village.<name>/1`. Times are written as RFC 3339."""
    document = {"schema": f"village.{name}/1", **content}
    body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    # A device may send half a surrogate pair, which UTF-8 can't hold.
    return Response(body.encode(errors="replace"), status, media_type="application/json")


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return format_time(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
