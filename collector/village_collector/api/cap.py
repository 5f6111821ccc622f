"""Alerts of the Common Alerting Protocol: taken in, listed, and how many loudspeakers said them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.requests import ClientDisconnect

from village_collector.api.access import Broadcaster, Caller, Forbidden, Viewer
from village_collector.api.broadcast_documents import (
    counts_entry,
    open_counts,
)
from village_collector.api.cap_documents import (
    AlertDocument,
    AlertsDocument,
)
from village_collector.api.common import Limit, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.broadcasts.coverage import by_area, count
from village_collector.cap.answering import acknowledgement
from village_collector.cap.document import InvalidAlert
from village_collector.cap.service import ACTION, Conflict, NoRight
from village_collector.cap.signature import NotSigned
from village_collector.cap.writing import write_alert
from village_collector.people.rights import within
from village_collector.stores.cap_records import AlertBroadcast, StoredAlert
from village_wire.areas import contains

router = APIRouter(tags=["alerts"])

#: A list is made of the newest alerts that the caller may see, found among so many.
_LOOKED_AT = 1000

_CAP_XML = "application/cap+xml"
_ACKNOWLEDGED: dict[str, Any] = {_CAP_XML: {"schema": {"type": "string"}}}

AlertPath = Annotated[UUID, Path(description="Alert id. 预警编号。")]


@router.post(
    "/cap",
    status_code=202,
    response_model=AlertDocument,
    responses={
        200: {
            "model": AlertDocument,
            "description": "Known already, or a dry run. 已收到过或试运行。",
            "content": _ACKNOWLEDGED,
        },
        202: {"content": _ACKNOWLEDGED},
    },
    summary="Bring an alert (Common Alerting Protocol 1.2, signed)",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_CAP_XML: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def bring(
    deps: Provided,
    caller: Broadcaster,
    request: Request,
    dry_run: Annotated[bool, Query(description="Show what would be aired, and air nothing. 试运行。")] = False,
) -> Response:
    """Verified, kept, and aired within those areas in which the caller has `broadcast`; again it gets the same answer.

    The answer is JSON, or with `Accept: application/cap+xml` an `Ack` of the protocol. Heartbeats (status System) show that a feed lives. What is not aired is named with the reason.
    校验签名后在调用者有播报权限的区域内播出；重复提交得到相同答复。心跳（status 为 System）表示来源在线；未播出的内容附原因。
    """
    try:
        content = await request.body()
    except ClientDisconnect:
        raise Problem(400, "the alert broke off", "bad_request") from None
    scope = caller.areas("broadcast")
    try:
        found = await deps.alerts.receive(content, caller.person, caller.address, scope, dry_run=dry_run)
    except NotSigned as error:
        raise Problem(403, f"the alert is not aired: {error}", "signature") from None
    except Conflict as error:
        raise Problem(409, str(error), "alert") from None
    except InvalidAlert as error:
        raise Problem(422, f"the alert can't be read: {error}", "alert") from None
    except NoRight as error:
        raise Forbidden(caller, "broadcast", error.area, ACTION, error.area) from None
    status = 202 if found.new and not dry_run else 200
    return await _document(deps, caller, found.alert, status, request, new=found.new, dry_run=dry_run)


@router.get("/cap/alerts", response_model=AlertsDocument, summary="Recent alerts")
async def alerts(
    deps: Provided,
    caller: Viewer,
    limit: Limit = 100,
    identifier: Annotated[
        str | None, Query(max_length=500, description="Only those that their sender calls so. 仅此标识。")
    ] = None,
) -> Response:
    """The newest first: those that are aired in the caller's areas, and those that they brought.

    最近的预警，最新的在前：在调用者区域内播出的，以及其本人提交的。
    """
    return await asyncio.to_thread(_list, deps, caller, limit, identifier)


@router.get(
    "/cap/alerts/{alert}",
    response_model=AlertDocument,
    responses={200: {"content": _ACKNOWLEDGED}},
    summary="One alert with its coverage",
)
async def alert(deps: Provided, caller: Viewer, request: Request, alert: AlertPath) -> Response:
    """Where it was heard, in numbers of loudspeakers per area, and what was not aired and why.

    With `Accept: application/cap+xml` as an `Ack` of the protocol itself, whose note says the same.
    单个预警及其覆盖情况（按区域统计扬声器），以及未播出的内容和原因；Accept 为 application/cap+xml 时以 Ack 消息答复。
    """
    found = await asyncio.to_thread(deps.control.alert, str(alert))
    if found is None or not _visible(caller, found):
        raise Problem(404, f"no alert {alert}", "unknown_alert")
    return await _document(deps, caller, found, 200, request, new=False, dry_run=False)


def _list(deps: Deps, caller: Caller, limit: int, identifier: str | None) -> Response:
    recent = deps.control.recent_alerts(_LOOKED_AT, identifier)
    found = [one for one in recent if _visible(caller, one)][:limit]
    wanted = [one.broadcast for alert in found for one in alert.broadcasts]
    counts = deps.control.broadcast_counts(wanted, caller.areas("view"))
    listed = []
    for one in found:
        shown = [
            {
                **_broadcast(item),
                "counts": open_counts(*counts[item.broadcast]) if item.broadcast in counts else None,
            }
            for item in one.broadcasts
        ]
        listed.append({**_entry(one), "broadcasts": shown})
    return answer("alerts", {"alerts": listed})


async def _document(
    deps: Deps, caller: Caller, alert: StoredAlert, status: int, request: Request, *, new: bool, dry_run: bool
) -> Response:
    scope = caller.areas("view")
    shown = []
    for one in alert.broadcasts:
        report = await deps.broadcasts.report(UUID(one.broadcast), scope) if one.broadcast else None
        entry = {**_broadcast(one), "counts": None, "coverage": []}
        if report is not None:
            reached = one.areas

            def inside(code: str, reached: tuple[str, ...] = reached) -> bool:
                mine = scope is None or any(within(own, code) for own in scope)
                return mine and any(within(area, code) for area in reached)

            areas = await asyncio.to_thread(by_area, report.loudspeakers, inside)
            entry["counts"] = counts_entry(count(report.loudspeakers))
            entry["coverage"] = [{"area": area, **counts_entry(counts)} for area, counts in areas.items()]
        shown.append(entry)
    if _CAP_XML in request.headers.get("accept", ""):
        counts = [entry["counts"] for entry in shown]
        sender = f"village-collector@{urlsplit(deps.public_url).hostname}"
        message = acknowledgement(alert, sender, deps.now(), counts)
        return Response(await asyncio.to_thread(write_alert, message), status, media_type=_CAP_XML)
    content = {**_entry(alert), "new": new, "dry_run": dry_run, "broadcasts": shown}
    return answer("alert", content, status)


def _visible(caller: Caller, alert: StoredAlert) -> bool:
    scope = caller.areas("view")
    if scope is None or alert.person == caller.person:
        return True
    areas = {area for one in alert.broadcasts for area in one.areas}
    return any(contains(own, area) or contains(area, own) for own in scope for area in areas)


def _entry(alert: StoredAlert) -> dict[str, Any]:
    sender, identifier, sent = alert.reference
    return {
        "id": alert.id or None,
        "sender": sender,
        "identifier": identifier,
        "sent": sent,
        "feed": alert.feed,
        "signer": alert.signer,
        "received": alert.received,
        "person": alert.person,
        **alert.document,
        "replaced_by": alert.replaced_by,
    }


def _broadcast(one: AlertBroadcast) -> dict[str, Any]:
    content = one.arguments
    return {
        "broadcast": one.broadcast or None,
        "info": one.info,
        "rank": content["rank"],
        "title": content["title"],
        "text": content["text"],
        "sound": one.audio is not None,
        "start": content.get("start"),
        "end": content["end"],
        "times": content["times"],
        "areas": one.areas,
        "state": one.state,
        "problem": one.problem,
        "taken_back": one.superseded,
    }
