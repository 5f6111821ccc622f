"""Which devices are well: rows of the control store and a time in, health rows out. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from village_collector.agent_health import AgentView, view_agent
from village_collector.health_model import (
    SEVERITY,
    AgentRecord,
    Buffer,
    CollectorHealth,
    Condition,
    DeviceRecord,
    Doubt,
    HealthRow,
    advice_for,
    format_optional,
)
from village_collector.ports import Problem
from village_wire.clocks import format_time


def evaluate(
    agents: Iterable[AgentRecord],
    devices: Iterable[DeviceRecord],
    now: datetime,
    doubt: Callable[[str], Doubt] = lambda _agent: "",
    buffers: Mapping[str, Buffer] | None = None,
) -> list[HealthRow]:
    """Return a row for each agent and each of its devices, the worst first, then by area, agent and device.

    Devices of an agent that is not among `agents` are left out. `doubt` says whether what the store knows of an agent that
    was online still counts. `buffers` are the agents' outboxes.
    """
    known = buffers or {}
    views = {record.agent: view_agent(record, now, doubt(record.agent), known.get(record.agent)) for record in agents}
    rows = [view.row for view in views.values()]
    rows += [_device_row(record, views[record.agent]) for record in devices if record.agent in views]
    rows.sort(key=lambda row: (SEVERITY[row["status"]], row["area"], row["agent"], row["device"]))
    return rows


def summarise(rows: Sequence[HealthRow]) -> dict[str, int]:
    """Count the rows of each status."""
    counts = {"ok": 0, "degraded": 0, "down": 0, "unknown": 0}
    for row in rows:
        counts[row["status"]] += 1
    return counts


def collector_health(problems: Sequence[Problem]) -> CollectorHealth:
    """Return the collector's own row: `down` as long as something keeps it from taking data in; the advice is for the worst."""
    condition = Condition()
    if problems:
        evidence = "; ".join(
            f"{problem.part} since {format_time(problem.since)}: {problem.text}" for problem in problems
        )
        worst = next((problem for problem in problems if problem.status == "down"), problems[0])
        condition = Condition(worst.status, worst.code, evidence)
    return {
        "status": condition.status,
        "code": condition.code,
        "evidence": condition.evidence,
        "advice": advice_for(condition.code),
    }


def _device_row(record: DeviceRecord, agent: AgentView) -> HealthRow:
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
        status, code, evidence = record.status, record.code, record.evidence or f"the agent reports {record.status}"
        since = format_optional(record.since)
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
        "buffer": None,
        "lost": [],
    }


def _last_known(record: DeviceRecord) -> str:
    if record.status is None:
        return "nothing"
    return record.status if record.status == "ok" else f"{record.status} ({record.code})"
