"""How the API tells of broadcasts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import Response
from typing_extensions import TypedDict

from village_collector.api.access import Caller
from village_collector.api.common import answer
from village_collector.broadcasts.coverage import Counts, Loudspeaker, by_area, count, state_of
from village_collector.broadcasts.service import Report
from village_collector.people.rights import within
from village_collector.stores.broadcast_reads import BroadcastRecord
from village_collector.stores.speech_records import SpeechRecord


class CoverageEntry(TypedDict):
    """Numbers of expected loudspeakers, and how many percent were heard."""

    expected: int
    heard: int
    sounding: int
    waiting: int
    failed: int
    unknown: int
    coverage: float


class AreaEntry(CoverageEntry):
    """Those of an area and all below it."""

    area: str


class OpenCounts(TypedDict):
    """As lists show them: `open` are those of which the end is not known."""

    expected: int
    heard: int
    sounding: int
    failed: int
    open: int
    coverage: float


class TargetEntry(TypedDict):
    """Where it was sent. `sent` is false when the broker did not confirm it; `problem` says why."""

    target: dict[str, Any]
    sent: bool | None
    problem: str


class LoudspeakerEntry(TypedDict):
    """One loudspeaker: how it counts, why, and what its last receipt said."""

    agent: str
    device: str
    name: str
    area: str
    standing: str
    code: str
    reason: str
    stage: str | None
    evidence: str
    started: str | None
    time: str | None
    play: int | None
    position: float | None
    overrode: bool | None


class WithdrawalEntry(TypedDict):
    """When it was withdrawn, by whom, why, and whether the broker took that."""

    time: str
    by: str
    reason: str
    sent: bool


class VoiceEntry(TypedDict):
    """A live voice: `expected`, `speaking` with what was sent so far, or `over` and why, "" by the speaker's own will."""

    state: str
    seconds: float
    reason: str


class BroadcastEntry(TypedDict):
    """A broadcast as lists show it."""

    id: str
    issued: str
    issuer: str
    content: dict[str, Any]
    start: str | None
    end: str
    targets: list[TargetEntry]
    state: str
    sent: bool | None
    problem: str
    withdrawn: WithdrawalEntry | None


class ListedBroadcast(BroadcastEntry):
    """With counts that cost nothing."""

    counts: OpenCounts


class BroadcastDocument(BroadcastEntry):
    """`village.broadcast/1`. `revision` is what `seen` is compared with. `others` were not expected and sent receipts all the same."""

    schema: str
    revision: int
    voice: VoiceEntry | None
    counts: CoverageEntry
    areas: list[AreaEntry]
    loudspeakers: list[LoudspeakerEntry]
    others: list[LoudspeakerEntry]


class BroadcastsDocument(TypedDict):
    """`village.broadcasts/1`."""

    schema: str
    broadcasts: list[ListedBroadcast]


def written(caller: Caller, report: Report, status: int) -> Response:
    """Return a `village.broadcast/1` of what the caller may see of a broadcast."""
    record = report.record
    scope = caller.areas("view")
    reached = [sent.target.area for sent in record.targets if sent.target.area is not None]

    def shown(code: str) -> bool:
        mine = scope is None or any(within(own, code) for own in scope)
        return mine and any(within(area, code) for area in reached)

    areas = by_area(report.loudspeakers, shown)
    content = {
        **_entry(record, report.time),
        "revision": record.tally.revision,
        "voice": None if report.voice is None else _voice(report.voice),
        "counts": counts_entry(count(report.loudspeakers)),
        "areas": [{"area": area, **counts_entry(counts)} for area, counts in areas.items()],
        "loudspeakers": [_loudspeaker(one) for one in report.loudspeakers if one.record.expected],
        "others": [_loudspeaker(one) for one in report.loudspeakers if not one.record.expected],
    }
    return answer("broadcast", content, status)


def listed(record: BroadcastRecord, now: datetime) -> dict[str, Any]:
    """Return a broadcast as lists show it."""
    tally = record.tally
    counts = open_counts(tally.expected, tally.heard, tally.sounding, tally.failed)
    return {**_entry(record, now), "counts": counts}


def open_counts(expected: int, heard: int, sounding: int, failed: int) -> Mapping[str, float]:
    """Return counts as lists tell them."""
    return {
        "expected": expected,
        "heard": heard,
        "sounding": sounding,
        "failed": failed,
        "open": expected - heard - failed,
        "coverage": Counts(expected=expected, heard=heard).coverage,
    }


def _entry(record: BroadcastRecord, now: datetime) -> dict[str, Any]:
    tally = record.tally
    content = {key: value for key, value in record.arguments.items() if key not in {"kind", "start", "end"}}
    withdrawn = None
    if tally.withdrawn is not None:
        withdrawn = {
            "time": tally.withdrawn,
            "by": record.withdrawn_by,
            "reason": record.withdrawal_reason,
            "sent": record.withdrawal_sent is not None,
        }
    return {
        "id": record.id,
        "issued": record.issued,
        "issuer": record.issuer,
        "content": content,
        "start": tally.start,
        "end": tally.end,
        "targets": [
            {
                "target": sent.target.model_dump(mode="json", exclude_none=True),
                "sent": sent.sent,
                "problem": sent.problem,
            }
            for sent in record.targets
        ],
        "state": state_of(tally, now),
        "sent": record.sent,
        "problem": record.problem,
        "withdrawn": withdrawn,
    }


def _voice(voice: SpeechRecord) -> dict[str, Any]:
    state = "over" if voice.ended is not None else "expected" if voice.collector is None else "speaking"
    return {"state": state, "seconds": round(voice.seconds, 2), "reason": voice.reason}


def counts_entry(counts: Counts) -> Mapping[str, float]:
    """Return counts as the API tells them."""
    return {
        "expected": counts.expected,
        "heard": counts.heard,
        "sounding": counts.sounding,
        "waiting": counts.waiting,
        "failed": counts.failed,
        "unknown": counts.unknown,
        "coverage": counts.coverage,
    }


def _loudspeaker(one: Loudspeaker) -> dict[str, Any]:
    record = one.record
    return {
        "agent": record.agent,
        "device": record.device,
        "name": record.name,
        "area": record.area,
        "standing": one.standing,
        "code": one.code,
        "reason": one.why,
        "stage": record.stage,
        "evidence": record.evidence,
        "started": record.started,
        "time": record.time,
        "play": record.play,
        "position": record.position,
        "overrode": record.overrode,
    }
