"""Which devices are well: rows of the control store and a time in, health rows out. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, cast

from typing_extensions import TypedDict

from village_collector.ports import Problem
from village_wire.clocks import format_time
from village_wire.states import ADVICE, Status

#: Every agent reports itself each minute; one that has been silent for so long is not known to live, whatever the broker
#: says (a broker that lost its memory sends no last will).
SILENT_AFTER = timedelta(minutes=15)

#: Why a connection that the store knows of may be gone: the collector itself hears nothing, or has not heard of this agent since
#: it came back to its broker.
Doubt = Literal["", "collector_lost", "not_heard"]

_ORDER = {"down": 0, "degraded": 1, "unknown": 2, "ok": 3}


class AgentRecord(NamedTuple):
    """What is known of an agent.

    `online` and `status_received` are None until its first status; the state of the agent itself in its present session is
    None until reported.
    """

    agent: str
    area: str
    online: bool | None
    session: str | None
    version: str | None
    status_received: datetime | None
    last_seen: datetime | None
    status: str | None
    code: str | None
    evidence: str | None
    since: datetime | None


class DeviceRecord(NamedTuple):
    """A device of an inventory with its state in the agent's present session, None until reported."""

    agent: str
    device: str
    name: str
    driver: str
    kind: str
    status: str | None
    code: str | None
    evidence: str | None
    since: datetime | None


class Advice(TypedDict):
    """What to do, in English and Chinese; empty texts when nothing is to be done."""

    en: str
    zh: str


class HealthRow(TypedDict):
    """One device, or the agent itself (`device` is empty, `kind` is `agent`). Times are RFC 3339."""

    agent: str
    area: str
    device: str
    name: str
    driver: str
    kind: str
    status: str
    code: str
    evidence: str
    since: str | None
    last_seen: str | None
    advice: Advice


class CollectorHealth(TypedDict):
    """The collector's own condition."""

    status: str
    code: str
    evidence: str
    advice: Advice


@dataclass(frozen=True, slots=True)
class _Condition:
    """A status with its reason code and its evidence."""

    status: Status = "ok"
    code: str = "works"
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class _AgentView:
    """An agent's row, and what its devices take from it: `shadow` hides their own states while the agent is not heard of."""

    row: HealthRow
    shadow: _Condition | None
    since: str | None


_ADVICE: dict[str, Advice] = {code: {"en": english, "zh": chinese} for code, (english, chinese) in ADVICE.items()}
_NO_ADVICE: Advice = {"en": "", "zh": ""}


def advice_for(code: str) -> Advice:
    """Return what to do about a reason code, empty for an unknown one."""
    return _ADVICE.get(code, _NO_ADVICE)


def evaluate(
    agents: Iterable[AgentRecord],
    devices: Iterable[DeviceRecord],
    now: datetime,
    doubt: Callable[[str], Doubt] = lambda _agent: "",
) -> list[HealthRow]:
    """Return a row for each agent and each of its devices, the worst first, then by area, agent and device.

    Devices of an agent that is not among `agents` are left out. `doubt` says whether what the store knows of an agent that
    was online still counts.
    """
    views = {record.agent: _view_agent(record, now, doubt(record.agent)) for record in agents}
    rows = [view.row for view in views.values()]
    rows += [_device_row(record, views[record.agent]) for record in devices if record.agent in views]
    rows.sort(key=lambda row: (_ORDER[row["status"]], row["area"], row["agent"], row["device"]))
    return rows


def summarise(rows: Sequence[HealthRow]) -> dict[str, int]:
    """Count the rows of each status."""
    counts = {"ok": 0, "degraded": 0, "down": 0, "unknown": 0}
    for row in rows:
        counts[row["status"]] += 1
    return counts


def collector_health(problems: Sequence[Problem]) -> CollectorHealth:
    """Return the collector's own row: `down` as long as something keeps it from taking data in."""
    condition = _Condition()
    if problems:
        evidence = "; ".join(
            f"{problem.part} since {format_time(problem.since)}: {problem.text}" for problem in problems
        )
        condition = _Condition("down", "collector_lost", evidence)
    return {
        "status": condition.status,
        "code": condition.code,
        "evidence": condition.evidence,
        "advice": advice_for(condition.code),
    }


def _view_agent(record: AgentRecord, now: datetime, doubt: Doubt) -> _AgentView:
    received = _format(record.status_received)
    last_seen = _format(record.last_seen)
    since = received
    shadow: _Condition | None = None
    heard = max((time for time in (record.last_seen, record.status_received) if time is not None), default=now)
    if record.online is None:
        own = shadow = _Condition("unknown", "never_seen", "no status of this agent was ever received")
    elif not record.online:
        own = _Condition("down", "agent_offline", f"offline since {received}")
        shadow = _Condition("unknown", "agent_offline", f"agent offline since {received}")
    elif doubt:
        since = _format(heard)
        reason = "the collector has no broker" if doubt == "collector_lost" else "the collector lost its broker since"
        own = shadow = _Condition("unknown", doubt, f"last heard of {since}; {reason}")
    elif now - heard > SILENT_AFTER:
        since = _format(heard)
        own = _Condition("unknown", "agent_silent", f"connected, but nothing was heard since {since}")
        shadow = _Condition("unknown", "agent_silent", f"nothing was heard of the agent since {since}")
    elif record.status is not None and record.code is not None:
        own = _Condition(cast("Status", record.status), record.code, record.evidence or "")
        since = _format(record.since)
    else:
        own = _Condition(evidence=f"connected since {received}")
    row: HealthRow = {
        "agent": record.agent,
        "area": record.area,
        "device": "",
        "name": "",
        "driver": "",
        "kind": "agent",
        "status": own.status,
        "code": own.code,
        "evidence": own.evidence,
        "since": since,
        "last_seen": last_seen,
        "advice": advice_for(own.code),
    }
    return _AgentView(row, shadow, since if shadow is not None else received)


def _device_row(record: DeviceRecord, agent: _AgentView) -> HealthRow:
    since = agent.since
    status: str
    if agent.shadow is not None:
        status, code, evidence = (
            agent.shadow.status,
            agent.shadow.code,
            f"{agent.shadow.evidence}; last known: {_last_known(record)}",
        )
    elif record.status is None or record.code is None:
        status, code, evidence = "unknown", "not_reported", "no state since the agent's last start"
    else:
        status, code, evidence = record.status, record.code, record.evidence or ""
        since = _format(record.since)
    return {
        "agent": record.agent,
        "area": agent.row["area"],
        "device": record.device,
        "name": record.name,
        "driver": record.driver,
        "kind": record.kind,
        "status": status,
        "code": code,
        "evidence": evidence,
        "since": since,
        "last_seen": agent.row["last_seen"],
        "advice": advice_for(code),
    }


def _last_known(record: DeviceRecord) -> str:
    if record.status is None:
        return "nothing"
    return record.status if record.status == "ok" else f"{record.status} ({record.code})"


def _format(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
