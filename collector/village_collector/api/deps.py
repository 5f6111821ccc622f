"""What the API works with; `village_collector.app` provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request

from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.service import BroadcastService
from village_collector.buffers import Buffers
from village_collector.cap.service import AlertService
from village_collector.commands import CommandService
from village_collector.health_model import Doubt
from village_collector.live.service import LiveService
from village_collector.people.service import People
from village_collector.ports import Problem, TelemetryStore
from village_collector.schedules.service import ScheduleService
from village_collector.snapshots import PendingUploads
from village_collector.stores.control import ControlStore
from village_collector.trust.enrolment import Enrolment


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts behind the API.

    `problems` tells what keeps the collector itself from taking data in now: called in any thread, must not block.
    `public_url` is how agents reach the API, such as `http://127.0.0.1:8480`, without a path.
    `doubt` is that of `health.evaluate`: called in any thread, must not block.
    `hosts` are the names and addresses under which the API may be called, lower case, beside that of `public_url`.
    `audit` records acts and refusals.
    `picture_seconds` is how long a request waits for a picture: a 4G uplink of 1 Mbit/s carries 3 MB in 25 s.
    """

    control: ControlStore
    telemetry: TelemetryStore
    commands: CommandService
    problems: Callable[[], Sequence[Problem]]
    public_url: str
    uploads: PendingUploads = field(default_factory=PendingUploads)
    buffers: Buffers = field(kw_only=True)
    people: People = field(kw_only=True)
    picture_seconds: float = 25.0
    now: Callable[[], datetime] = _now
    doubt: Callable[[str], Doubt] = lambda _agent: ""
    audit: Audit = field(kw_only=True)
    broadcasts: BroadcastService = field(kw_only=True)
    audio: AudioFiles = field(kw_only=True)
    live: LiveService = field(kw_only=True)
    schedules: ScheduleService = field(kw_only=True)
    alerts: AlertService = field(kw_only=True)
    enrolment: Enrolment = field(kw_only=True)
    hosts: frozenset[str] = frozenset()


def _deps(request: Request) -> Deps:
    return cast("Deps", request.app.state.deps)


#: Declares a parameter that receives the application's `Deps`.
Provided = Annotated[Deps, Depends(_deps)]
