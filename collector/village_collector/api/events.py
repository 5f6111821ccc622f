"""Events: what happened, and following what happens."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from village_collector.api.access import Viewer
from village_collector.api.common import AgentQuery, AreaQuery, DeviceQuery, Limit, TimeQuery, answer
from village_collector.api.deps import Provided
from village_collector.api.problems import Problem
from village_collector.stores.control_reads import EventFilter, EventRecord, UnknownEvent

router = APIRouter(tags=["events"])


class EventDocument(TypedDict):
    """One event. `device` is null when the agent itself is meant; `received` is the collector's time."""

    id: str
    time: str
    received: str
    agent: str
    area: str
    device: str | None
    kind: str
    data: dict[str, Any]


class EventsDocument(TypedDict):
    """`village.events/1`. To follow, ask again with `after=cursor`; it is null while there is no event at all."""

    schema: str
    events: list[EventDocument]
    cursor: str | None


@router.get("/events", response_model=EventsDocument, summary="Events")
def events(
    deps: Provided,
    caller: Viewer,
    area: AreaQuery = None,
    agent: AgentQuery = None,
    device: DeviceQuery = None,
    kind: Annotated[str | None, Query(pattern=r"^[a-z_]{1,40}$", description="Only this kind. 仅此类型。")] = None,
    since: Annotated[TimeQuery | None, Query(description="Not before. 起始时间。")] = None,
    until: Annotated[TimeQuery | None, Query(description="Before. 截止时间（不含）。")] = None,
    after: Annotated[UUID | None, Query(description="Received after this event. 在此事件之后收到的。")] = None,
    limit: Limit = 100,
) -> Response:
    """The newest by their own time, newest first; with `after`, those received after that event in the order of receipt.

    按时间倒序；给出 after 时按接收顺序返回其后的事件。
    """
    wanted = EventFilter(area, agent, device, kind, since, until, scope=caller.areas("view"))
    if after is None:
        page = deps.control.events(wanted, limit)
    else:
        try:
            page = deps.control.events_after(str(after), wanted, limit)
        except UnknownEvent:
            raise Problem(404, f"no event {after}: it never came, or is too old", "events_gone") from None
    return answer("events", {"events": [event_document(event) for event in page.events], "cursor": page.cursor})


def event_document(event: EventRecord) -> dict[str, Any]:
    """Return an event as answers show it."""
    return event._asdict()
