"""How full the outboxes of all agents are, from what they last reported of themselves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from village_collector.health_model import Buffer
from village_collector.ports import Field, StoreUnavailable
from village_wire.clocks import format_time

_log = logging.getLogger(__name__)

#: Kind and device id of what an agent reports of itself.
AGENT_KIND, AGENT_DEVICE = "agent", "agent"
#: Agents report each few minutes; reading all of a county takes some tenths of a second.
KEPT_SECONDS = 15.0
#: Whoever asks for health waits for a slow store no longer, and gets what was read last.
PATIENCE_SECONDS = 1.0


class Readings(Protocol):
    """The part of a telemetry store that is needed here."""

    async def latest(self, kind: str, device: str) -> Mapping[str, Sequence[Field]]:
        """See `ports.TelemetryStore`."""


class Buffers:
    """Reads them now and then. Lives in the event loop."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings
        self._known: Mapping[str, Buffer] = {}
        self._read_at: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> Mapping[str, Buffer]:
        """Return the buffers by agent, at most `KEPT_SECONDS` old unless the store is slow or away."""
        if self._read_at is None or time.monotonic() - self._read_at > KEPT_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._refresh(), name="buffers")
            await asyncio.wait([self._reading], timeout=PATIENCE_SECONDS)
        return self._known

    async def _refresh(self) -> None:
        try:
            found = await self._readings.latest(AGENT_KIND, AGENT_DEVICE)
        except StoreUnavailable as error:
            _log.debug("buffers: %s", error)
        else:
            self._known = {agent: buffer for agent, fields in found.items() if (buffer := read_buffer(fields))}
        self._read_at = time.monotonic()


def read_buffer(fields: Sequence[Field]) -> Buffer | None:
    """Return the buffer that the latest readings of an agent tell, None if they tell of none."""
    latest = {field.name: field.latest for field in fields if field.name in _FIELDS}
    if not latest:
        return None
    values = {name: sample.value for name, sample in latest.items()}
    at = max(sample.time for sample in latest.values())
    waiting = values.get("outbox_waiting")
    age = values.get("outbox_age_s")
    hours, size = values.get("outbox_hours"), values.get("outbox_bytes")
    return {
        "hours": None if hours is None else float(hours),
        "waiting": None if waiting is None else int(waiting),
        "waiting_since": _since(latest["outbox_age_s"].time, float(age)) if waiting and age is not None else None,
        "bytes": None if size is None else int(size),
        "time": format_time(at),
    }


_FIELDS = frozenset({"outbox_hours", "outbox_waiting", "outbox_age_s", "outbox_bytes"})


def _since(at: datetime, seconds: float) -> str:
    # An agent may say anything; an age of more than a century is nonsense.
    return format_time(at - timedelta(seconds=max(0.0, min(seconds, 3e9))))
