"""The audit log: who did what, and the raw chain for those who verify it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from village_collector.api.access import Administrator
from village_collector.api.common import AreaQuery, Limit, TimeQuery, answer
from village_collector.api.deps import Deps, Provided
from village_collector.api.problems import Problem
from village_collector.commands import state_of
from village_collector.stores.audit_records import AuditFilter, CommandOutcome
from village_wire.audit import Act, Entry, InvalidEntry, Outcome, read_entry
from village_wire.signed import encode_public_key

router = APIRouter(tags=["audit"])

#: An answer of so many entries has some 2.5 MB.
MAX_RAW = 5000
_MAX_NUMBER = 2**53
#: When an entry was made whose text was destroyed.
UNREADABLE_TIME = datetime(1970, 1, 1, tzinfo=UTC)

After = Annotated[int, Query(ge=0, le=_MAX_NUMBER, description="Only greater numbers. 仅编号更大的。")]
RawLimit = Annotated[int, Query(ge=1, le=MAX_RAW, description="At most so many. 最多返回条数。")]


class CommandResult(TypedDict):
    """What became of a command until now. `outcomes` are numbers of answers; empty for a command to more than 200 devices."""

    state: str
    sent: bool | None
    problem: str
    expected: int
    answered: int
    final: int
    outcomes: dict[str, int]


class AuditEntry(TypedDict):
    """One act. `actor` is empty for an unknown caller; `result` is null where there is no command, or it is no longer kept."""

    number: int
    time: str
    actor: str
    address: str
    action: str
    target: str
    area: str
    outcome: Outcome
    reason: str
    command: str
    result: CommandResult | None


class AuditDocument(TypedDict):
    """`village.audit/1`."""

    schema: str
    entries: list[AuditEntry]


class RawEntry(TypedDict):
    """A row of the log. `hash` is the SHA-256 of `entry`; `misfiled`: lists search it by something else than it says."""

    number: int
    entry: str
    hash: str
    misfiled: bool


class RawEntriesDocument(TypedDict):
    """`village.audit-entries/1`."""

    schema: str
    entries: list[RawEntry]


class SealEntry(TypedDict):
    """A signature (Ed25519, base64) over number, hash and time."""

    number: int
    time: str
    hash: str
    signature: str


class SealsDocument(TypedDict):
    """`village.audit-seals/1`. `last` is the number of the last seal of all, 0 without any."""

    schema: str
    seals: list[SealEntry]
    last: int


class KeyDocument(TypedDict):
    """`village.audit-key/1`: the public key (base64) of the seals."""

    schema: str
    key: str


@router.get("/audit", response_model=AuditDocument, summary="Who did what")
async def audit(
    deps: Provided,
    caller: Administrator,
    since: Annotated[TimeQuery | None, Query(description="Not before. 起始时间。")] = None,
    until: Annotated[TimeQuery | None, Query(description="Before. 截止时间（不含）。")] = None,
    actor: Annotated[str | None, Query(max_length=80, description="Only this person. 仅此人。")] = None,
    action: Annotated[
        str | None,
        Query(
            pattern=r"^[a-z_.-]{1,40}$",
            description="Only this action; `door.` for all at doors. 仅此操作，door. 为一类。",
        ),
    ] = None,
    area: AreaQuery = None,
    outcome: Annotated[Outcome | None, Query(description="Only this outcome. 仅此结果。")] = None,
    target: Annotated[str | None, Query(max_length=200, description="Only this target. 仅此目标。")] = None,
    after: Annotated[
        int | None, Query(ge=0, le=_MAX_NUMBER, description="In order, after this number. 按编号顺序，在此之后。")
    ] = None,
    before: Annotated[int | None, Query(ge=1, le=_MAX_NUMBER, description="Before this number. 在此编号之前。")] = None,
    limit: Limit = 100,
) -> Response:
    """The newest first; with `after` in the order of their numbers. Only of areas that the caller administers.

    操作记录，最新的在前；给出 after 时按编号顺序。仅限调用者所管理的区域。
    """
    wanted = AuditFilter(since, until, actor, action, outcome, target, area, caller.areas("administer"))
    return await asyncio.to_thread(_list, deps, wanted, limit, after, before)


@router.get("/audit/entries", response_model=RawEntriesDocument, summary="The log as it stands, for its verification")
async def entries(deps: Provided, caller: Administrator, after: After = 0, limit: RawLimit = 1000) -> Response:
    """In the order of numbers. Needs `administer` everywhere.

    原始记录，供校验使用；须具有全域管理权限。
    """
    caller.check("administer", "")
    return await asyncio.to_thread(_raw, deps, after, limit)


@router.get("/audit/seals", response_model=SealsDocument, summary="Seals of the log")
async def seals(deps: Provided, caller: Administrator, after: After = 0, limit: RawLimit = 1000) -> Response:
    """In the order of numbers. Needs `administer` everywhere.

    审计日志的签章；须具有全域管理权限。
    """
    caller.check("administer", "")
    found, last = await asyncio.to_thread(deps.control.audit_seals, after, limit)
    return answer("audit-seals", {"seals": [seal._asdict() for seal in found], "last": last})


@router.get("/audit/key", response_model=KeyDocument, summary="The key of the seals")
async def key(deps: Provided, caller: Administrator) -> Response:
    """Compare it with the one that you noted at set-up.

    签章公钥；请与安装时记录的公钥核对。
    """
    del caller
    public = deps.audit.public_key
    if public is None:
        raise Problem(404, "this collector seals nothing", "unknown")
    return answer("audit-key", {"key": encode_public_key(public)})


def _list(deps: Deps, wanted: AuditFilter, limit: int, after: int | None, before: int | None) -> Response:
    found = [_read(number, text) for number, text in deps.control.audit(wanted, limit, after, before)]
    outcomes = deps.control.command_outcomes([entry.act.command for entry in found if entry.act.command])
    return answer("audit", {"entries": _shown(found, outcomes, deps.now())})


def _read(number: int, text: str) -> Entry:
    try:
        return read_entry(text)._replace(number=number)
    except InvalidEntry as error:
        reason = f"{error}; see `village audit verify`"
        return Entry(number, "", Act(UNREADABLE_TIME, "", "", "unreadable", outcome="failed", reason=reason))


def _raw(deps: Deps, after: int, limit: int) -> Response:
    rows = deps.control.audit_entries(after, limit)
    shown = [{"number": row.number, "entry": row.text, "hash": row.hash, "misfiled": row.misfiled} for row in rows]
    return answer("audit-entries", {"entries": shown})


def _shown(found: Sequence[Entry], outcomes: Mapping[str, CommandOutcome], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "number": entry.number,
            "time": entry.act.time,
            "actor": entry.act.actor,
            "address": entry.act.address,
            "action": entry.act.action,
            "target": entry.act.target,
            "area": entry.act.area,
            "outcome": entry.act.outcome,
            "reason": entry.act.reason,
            "command": entry.act.command,
            "result": _result(outcomes.get(entry.act.command), now),
        }
        for entry in found
    ]


def _result(outcome: CommandOutcome | None, now: datetime) -> dict[str, Any] | None:
    if outcome is None:
        return None
    record = outcome.record
    return {
        "state": state_of(record.progress, now),
        "sent": record.sent,
        "problem": record.problem,
        "expected": record.progress.expected,
        "answered": record.progress.answered,
        "final": record.progress.final,
        "outcomes": outcome.outcomes,
    }
