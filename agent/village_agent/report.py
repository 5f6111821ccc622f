"""Takes what drivers tell: readings to the outbox, states to the table, happenings to events and to the doors."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import ValidationError

from village_agent.clock.clock import from_ns
from village_agent.roster import Unit
from village_agent.states import Change, StateTable
from village_drivers.kit import CardRead, DriverEvent, KeysPressed
from village_wire.events import Event, EventData, StateChanged, first_problem
from village_wire.ids import uuid7
from village_wire.points import InvalidPoint, Value, encode_point
from village_wire.states import Status

_log = logging.getLogger(__name__)

MAX_EVIDENCE = 1000
#: Distinct complaints that are logged; a driver that invents more is counted on in silence.
_MAX_LOGGED = 200


def make_event(device: str | None, data: EventData, time_ns: int) -> Event:
    """Return an event that happened `time_ns` nanoseconds after 1970."""
    return Event(id=uuid7(time_ns // 1_000_000), time=from_ns(time_ns), device=device, data=data)


class Sink(Protocol):
    """Where readings and events go; `Recorder` and `Outbox` are such."""

    def add_line(self, line: bytes) -> None:
        """One line of telemetry."""

    def post_event(self, event: Event) -> None:
        """One event."""

    async def add_events(self, events: Sequence[Event]) -> None:
        """Events; return when they are on disk. Raises `OutboxUnavailable`, and keeps them for later, when the disk refuses."""


class Hub:
    """What the reports of all drivers share."""

    def __init__(
        self,
        agent: str,
        session: str,
        sink: Sink,
        states: StateTable,
        now_ns: Callable[[], int],
        dated: Callable[[datetime], datetime | None] = lambda time: time,
    ) -> None:
        """`now_ns` may be provisional (see `clock`) if the sink takes undated things; `dated` gives such a time's date."""
        self.now_ns = now_ns
        self._dated = dated
        self.agent = agent
        self.session = session
        self.sink = sink
        self.states = states
        #: What did not fit the contract, by driver and problem.
        self.invalid: Counter[str] = Counter()
        self.on_card: Callable[[str, CardRead], None] = lambda _reader, _card: None
        self.on_devices_changed: Callable[[], None] = lambda: None
        #: A loudspeaker says that it sounds.
        self.on_busy: Callable[[str], None] = lambda _device: None

    def event(self, device: str | None, data: EventData) -> Event:
        """Return an event that happens now."""
        return make_event(device, data, self.now_ns())

    def post(self, device: str | None, data: EventData) -> None:
        """Record an event that happens now."""
        self.sink.post_event(self.event(device, data))

    def reading(self, kind: str, device: str, fields: Mapping[str, Value]) -> None:
        """Record a reading taken now; raises `InvalidPoint`."""
        self.sink.add_line(encode_point(kind, self.agent, device, fields, self.now_ns()))
        if kind == "loudspeaker" and fields.get("busy"):
            self.on_busy(device)

    async def record(self, device: str | None, data: EventData) -> None:
        """As `post`, and return when the event is on disk; raises `OutboxUnavailable` when it must wait for that in memory."""
        await self.sink.add_events([self.event(device, data)])

    def set_state(self, device: str, status: Status, code: str, evidence: str) -> None:
        """Take a device's condition; what has lasted, or is certain, is logged and becomes an event (see `steadiness`)."""
        evidence = evidence[:MAX_EVIDENCE]
        now = from_ns(self.now_ns())
        try:
            StateChanged(status=status, code=code, evidence=evidence, since=now, session=self.session)
        except ValidationError as error:
            self.complain(f"device {device}: state {status!r}, {code[:40]!r}: {first_problem(error)}")
            return
        change = self.states.set(device, status, code, evidence, time.monotonic(), now)
        if change is not None:
            self._tell(change)

    def settle(self) -> None:
        """Tell the conditions that have lasted. Call it once a second."""
        for change in self.states.settle(time.monotonic()):
            self._tell(change)

    def _tell(self, change: Change) -> None:
        device, before, state = change
        self.post(
            device,
            StateChanged(
                status=state.status,
                code=state.code,
                evidence=state.evidence[:MAX_EVIDENCE],
                since=state.since,
                session=self.session,
            ),
        )
        if state.status in {"down", "degraded"}:
            _log.warning("device %s is %s: %s: %s", device, state.status, state.code, state.evidence)
        elif before is not None and before.status in {"down", "degraded"}:
            _log.info(
                "device %s is %s again, it was %s (%s) for %s",
                device,
                state.status,
                before.status,
                before.code,
                (self._dated(state.since) or state.since) - (self._dated(before.since) or before.since),
            )

    def complain(self, problem: str) -> None:
        """Count a breach of the contract and log it the first time."""
        if problem not in self.invalid and len(self.invalid) < _MAX_LOGGED:
            _log.warning("%s", problem)
            self.invalid[problem] = 0
        if problem in self.invalid:
            self.invalid[problem] += 1


class UnitReport:
    """The `kit.Report` of one driver."""

    def __init__(self, unit: Unit, hub: Hub) -> None:
        self._unit = unit
        self._hub = hub

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        """See `kit.Report`."""
        if not self._owns(device):
            return
        try:
            self._hub.reading(kind, device, fields)
        except InvalidPoint as error:
            # The value itself would make every complaint a new one.
            self._hub.complain(f"driver {self._unit.config.id}: reading dropped: {str(error).partition(', not ')[0]}")

    def event(self, device: str, event: DriverEvent) -> None:
        """See `kit.Report`."""
        if isinstance(event, KeysPressed) or not self._owns(device):
            # Typed digits may be a PIN. No door takes them yet.
            return
        if isinstance(event, CardRead):
            self._hub.on_card(device, event)
        else:
            self._hub.post(device, event)

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        """See `kit.Report`."""
        if self._owns(device):
            self._hub.set_state(device, status, code, evidence)

    def devices_changed(self) -> None:
        """See `kit.Report`."""
        self._hub.on_devices_changed()

    def _owns(self, device: str) -> bool:
        if device in self._unit.rows():
            return True
        self._hub.complain(f"driver {self._unit.config.id} reports on {device[:64]!r}, which is none of its devices")
        return False
