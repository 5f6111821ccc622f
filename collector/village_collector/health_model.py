"""What health is judged by and told in: records of the control store, rows of the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from typing_extensions import TypedDict

from village_wire.clocks import format_time
from village_wire.states import ADVICE, Status

#: Why a connection that the store knows of may be gone: the collector itself hears nothing, or has not heard of this agent since
#: it came back to its broker.
Doubt = Literal["", "collector_lost", "not_heard"]

#: The worst first.
SEVERITY = {"down": 0, "degraded": 1, "unknown": 2, "ok": 3}


@dataclass(frozen=True, slots=True)
class Lost:
    """An entry of an agent's loss ledger: in all `count` of a class for a reason; `received` is when it last grew."""

    item_class: str
    reason: str
    count: int
    first: datetime
    last: datetime
    received: datetime


class AgentRecord(NamedTuple):
    """What is known of an agent.

    `online` and `status_received` are None until its first status; the state of the agent itself in its present session is
    None until reported. `link_losses` are times at which its connection was lost lately, in any order.
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
    link_losses: Sequence[datetime] = ()
    ledger: Sequence[Lost] = ()


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


class LostEntry(TypedDict):
    """What an agent had to throw away: in all `count` of a class (event, receipt, telemetry) for a reason, dated from first to last."""

    item_class: str
    reason: str
    count: int
    first: str
    last: str
    received: str


class Buffer(TypedDict):
    """How an agent's outbox is, as it last reported at `time`.

    `hours` of an outage are bridged at the present rate; `waiting` lines and events are not confirmed yet, the oldest since
    `waiting_since`. A value that it does not report is null.
    """

    hours: float | None
    waiting: int | None
    waiting_since: str | None
    bytes: int | None
    time: str


class HealthRow(TypedDict):
    """One device, or the agent itself (`device` is empty, `kind` is `agent`). Times are RFC 3339.

    `buffer` (null until reported) and `lost` are those of the agent itself.
    """

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
    buffer: Buffer | None
    lost: list[LostEntry]


class CollectorHealth(TypedDict):
    """The collector's own condition."""

    status: str
    code: str
    evidence: str
    advice: Advice


@dataclass(frozen=True, slots=True)
class Condition:
    """A status with its reason code and its evidence."""

    status: Status = "ok"
    code: str = "works"
    evidence: str = ""
    since: datetime | None = None


_ADVICE: dict[str, Advice] = {code: {"en": english, "zh": chinese} for code, (english, chinese) in ADVICE.items()}
_NO_ADVICE: Advice = {"en": "", "zh": ""}


def advice_for(code: str) -> Advice:
    """Return what to do about a reason code, empty for an unknown one."""
    return _ADVICE.get(code, _NO_ADVICE)


def format_optional(time: datetime | None) -> str | None:
    """Return a time as the API writes it, None for none."""
    return None if time is None else format_time(time)
