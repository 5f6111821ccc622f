"""How many loudspeakers were heard, and what is known of the others. Pure: records and a time in, counts out.

Nothing is assumed: a loudspeaker was heard when its agent said that the sound finished, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from village_collector.agent_health import view_agent
from village_collector.health_model import AgentRecord, Doubt
from village_collector.stores.broadcast_reads import ReceiptRecord, Tally
from village_collector.stores.receipt_merging import group_of
from village_wire.areas import chain

Standing = Literal["heard", "sounding", "waiting", "failed", "unknown"]
#: `done`: nothing more will come. `over`: some will say nothing any more, as far as anybody can know.
State = Literal["scheduled", "running", "done", "over"]

#: Receipts of what ended in time may still be on their way.
GRACE = timedelta(seconds=15)
#: What began in time may take longer than its length: it waits for others, or pauses for them.
LONGEST_DELAY = timedelta(minutes=10)


@dataclass(slots=True)
class Counts:
    """Numbers of expected loudspeakers by standing."""

    expected: int = 0
    heard: int = 0
    sounding: int = 0
    waiting: int = 0
    failed: int = 0
    unknown: int = 0

    def add(self, standing: Standing) -> None:
        """Count one more."""
        self.expected += 1
        setattr(self, standing, getattr(self, standing) + 1)

    @property
    def coverage(self) -> float:
        """How many percent were heard, rounded down, so that 100 means all; 0 of none."""
        return self.heard * 1000 // self.expected / 10 if self.expected else 0.0


class Loudspeaker(NamedTuple):
    """One loudspeaker: its record, how it counts, and why, as a reason code ("" if there is none) and in words."""

    record: ReceiptRecord
    standing: Standing
    code: str
    why: str


def horizon(tally: Tally) -> datetime:
    """Return from when on nothing more is waited for."""
    if tally.sounding:
        return tally.end + timedelta(seconds=tally.lasts) + LONGEST_DELAY
    end = tally.end if tally.withdrawn is None else min(tally.end, tally.withdrawn)
    return end + GRACE


def state_of(tally: Tally, now: datetime) -> State:
    """Judge a broadcast as a whole."""
    if tally.heard + tally.failed >= tally.expected:
        return "done"
    if now >= horizon(tally):
        return "over"
    return "scheduled" if tally.start is not None and now < tally.start and not tally.sounding else "running"


def judge(
    receipts: Iterable[ReceiptRecord],
    agents: Iterable[AgentRecord],
    over: bool,
    now: datetime,
    doubt: Callable[[str], Doubt] = lambda _agent: "",
) -> list[Loudspeaker]:
    """Say how each loudspeaker counts. `agents` are those of the ones without an end; `over` is whether anything is waited for yet."""
    shadows = {record.agent: view_agent(record, now, doubt(record.agent), None).shadow for record in agents}
    found = []
    for record in receipts:
        group = group_of(record.stage)
        shadow = shadows.get(record.agent)
        if group in {"heard", "failed"}:
            found.append(Loudspeaker(record, group or "waiting", "", record.reason))
        elif shadow is not None:
            found.append(Loudspeaker(record, "unknown", shadow.code, shadow.evidence))
        elif over:
            found.append(Loudspeaker(record, "unknown", "no_receipt", _silent(record)))
        else:
            found.append(Loudspeaker(record, group or "waiting", "", record.reason))
    return found


def count(loudspeakers: Iterable[Loudspeaker]) -> Counts:
    """Count the expected ones."""
    counts = Counts()
    for one in loudspeakers:
        if one.record.expected:
            counts.add(one.standing)
    return counts


def by_area(loudspeakers: Sequence[Loudspeaker], shown: Callable[[str], bool]) -> Mapping[str, Counts]:
    """Count the expected ones of each area of the tree, and of all above it that `shown` admits; from above to below."""
    counts: dict[str, Counts] = {}
    chains: dict[str, list[str]] = {}
    for one in loudspeakers:
        area = one.record.area
        if not one.record.expected or not area:
            continue
        if area not in chains:
            chains[area] = [code for code in chain(area) if code == area or shown(code)]
        for code in chains[area]:
            counts.setdefault(code, Counts()).add(one.standing)
    return dict(sorted(counts.items(), key=lambda item: _place(item[0])))


def _place(code: str) -> tuple[str, str]:
    # A grid comes after its village, and a village after its township: trailing zeros stand for the higher level.
    return code[:12], code[12:]


def _silent(record: ReceiptRecord) -> str:
    if record.stage is None:
        return "connected, but sent no receipt"
    return f"{record.stage}, but no receipt of its end came"
