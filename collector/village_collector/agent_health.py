"""Whether an agent is well: its connection, what it says of itself, how steady its link is, what it lost. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from village_collector.health_model import (
    SEVERITY,
    AgentRecord,
    Buffer,
    Condition,
    Doubt,
    HealthRow,
    advice_for,
    format_optional,
)
from village_wire.clocks import format_time
from village_wire.states import Status

#: A connection that is lost for less is no alarm: 4G links blink, and an agent that is started anew is back sooner.
LINK_GRACE = timedelta(seconds=15)
#: A link that was lost `UNSTABLE_LOSSES` times within `UNSTABLE_WINDOW` is an alarm although it always came back.
UNSTABLE_LOSSES = 3
UNSTABLE_WINDOW = timedelta(minutes=10)
#: So long after new losses an agent is called degraded; what was lost stays in its ledger.
LOSS_SHOWN = timedelta(hours=24)
#: Every agent reports itself each five minutes, and gathers for as long before it sends; one that has been silent for so long is not known to live, whatever the broker
#: says (a broker that lost its memory sends no last will).
SILENT_AFTER = timedelta(minutes=15)

#: Reasons of loss that one row names.
_MAX_TOLD = 3


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent's row, and what its devices take from it: `shadow` hides their own states while the agent is not heard of."""

    row: HealthRow
    shadow: Condition | None
    since: str | None


def view_agent(record: AgentRecord, now: datetime, doubt: Doubt, buffer: Buffer | None) -> AgentView:
    """Judge one agent."""
    received = format_optional(record.status_received)
    since = received
    shadow: Condition | None = None
    heard = max((time for time in (record.last_seen, record.status_received) if time is not None), default=now)
    if record.online is None or record.status_received is None:
        own = shadow = Condition("unknown", "never_seen", "no status of this agent was ever received")
    elif not record.online and _link_blinks(record.status_received, now):
        own = _steady(record, now, _blinking(record, record.status_received, now))
    elif not record.online:
        own = Condition("down", "agent_offline", f"offline since {received}")
        shadow = Condition("unknown", "agent_offline", f"agent offline since {received}")
    elif doubt:
        since = format_optional(heard)
        reason = "the collector has no broker" if doubt == "collector_lost" else "the collector lost its broker since"
        own = shadow = Condition("unknown", doubt, f"last heard of {since}; {reason}")
    elif now - heard > SILENT_AFTER:
        since = format_optional(heard)
        own = Condition("unknown", "agent_silent", f"connected, but nothing was heard since {since}")
        shadow = Condition("unknown", "agent_silent", f"nothing was heard of the agent since {since}")
    else:
        own = _steady(record, now, _own(record))
        since = format_optional(own.since or record.status_received)
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
        "last_seen": format_optional(record.last_seen),
        "advice": advice_for(own.code),
        "buffer": buffer,
        "lost": [
            {
                "item_class": entry.item_class,
                "reason": entry.reason,
                "count": entry.count,
                "first": format_time(entry.first),
                "last": format_time(entry.last),
                "received": format_time(entry.received),
            }
            for entry in record.ledger
        ],
    }
    return AgentView(row, shadow, since if shadow is not None else received)


def _own(record: AgentRecord) -> Condition:
    """What the agent says of itself, or that it is connected."""
    if record.status is not None and record.code is not None:
        return Condition(cast("Status", record.status), record.code, record.evidence or "", record.since)
    return Condition(evidence=f"connected since {format_optional(record.status_received)}")


def _blinking(record: AgentRecord, lost: datetime, now: datetime) -> Condition:
    """The status that the agent had, while its connection is lost for a few seconds only."""
    own = _own(record)
    before = "" if own.status == "ok" else f"; before that {own.status} ({own.code}): {own.evidence}"
    return Condition(own.status, "link_lost", f"link lost {(now - lost).total_seconds():.0f} s ago{before}", lost)


def _steady(record: AgentRecord, now: datetime, own: Condition) -> Condition:
    """The worst of what an agent says and of what its link and its ledger show; the former if they are equally bad."""
    found = [own]
    recent = sorted(time for time in record.link_losses if now - UNSTABLE_WINDOW < time <= now)
    if len(recent) >= UNSTABLE_LOSSES:
        evidence = f"connection lost {len(recent)} times in {UNSTABLE_WINDOW.seconds // 60} min, last at {format_time(recent[-1])}"
        found.append(Condition("degraded", "unstable", evidence, recent[0]))
    fresh = [entry for entry in record.ledger if now - entry.received < LOSS_SHOWN]
    if fresh:
        told = "; ".join(
            f"{entry.count} of class {entry.item_class} lost ({entry.reason}), dated {format_time(entry.first)} to"
            f" {format_time(entry.last)}"
            for entry in fresh[:_MAX_TOLD]
        )
        more = f"; {len(fresh) - _MAX_TOLD} reasons more" if len(fresh) > _MAX_TOLD else ""
        since = min(entry.received for entry in fresh)
        found.append(Condition("degraded", "data_lost", told + more, since))
    return min(found, key=lambda condition: SEVERITY[condition.status])


def _link_blinks(lost: datetime, now: datetime) -> bool:
    # A collector whose clock was set back must not take an old loss for a fresh one.
    return timedelta() <= now - lost < LINK_GRACE
