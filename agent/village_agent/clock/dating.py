"""Provisional times (see `clock`) of readings and events turned into dates. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from village_agent.clock.clock import EPOCH, PROVISIONAL_END_NS, is_provisional
from village_wire.events import Event, EventData
from village_wire.ids import uuid7

_RANDOM_A, _RANDOM_B = 0xFFF, 0x3FFF_FFFF_FFFF_FFFF


def date_time(time: datetime, offset_ns: int) -> datetime:
    """Return a provisional time's date, and any other time as it is."""
    return time + timedelta(microseconds=offset_ns // 1000) if is_provisional(time) else time


def is_undated_line(line: bytes) -> bool:
    """Whether the time at the end of a line of telemetry is provisional."""
    return int(line[line.rindex(b" ") :]) < PROVISIONAL_END_NS


def date_line(line: bytes, offset_ns: int) -> bytes:
    """Return a line with its date."""
    head, _, time = line.rpartition(b" ")
    return b"%s %d" % (head, int(time) + offset_ns) if int(time) < PROVISIONAL_END_NS else line


def is_undated_event(event: Event) -> bool:
    """Whether any time of an event is provisional."""
    return is_provisional(event.time) or any(is_provisional(time) for time in _times(event.data).values())


def date_event(event: Event, offset_ns: int) -> Event:
    """Return an event with its dates. The same event and offset give the same id: what is dated twice is stored once."""
    times = {name: date_time(time, offset_ns) for name, time in _times(event.data).items()}
    data = event.data.model_copy(update=times)
    if not is_provisional(event.time):
        return event.model_copy(update={"data": data})
    time = date_time(event.time, offset_ns)
    value = event.id.int
    tail = (value >> 64 & _RANDOM_A) << 64 | value & _RANDOM_B
    identity = uuid7((time - EPOCH) // timedelta(milliseconds=1), tail.to_bytes(10, "big"))
    return event.model_copy(update={"id": identity, "time": time, "data": data})


def _times(data: EventData) -> dict[str, datetime]:
    return {name: value for name, value in data if isinstance(value, datetime)}
