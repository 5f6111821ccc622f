"""What simulated agents send: ten devices, ten readings a minute, some events an hour."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from village_agent.outbox.outbox import BATCH_BYTES
from village_wire.events import CONTENT_JSON
from village_wire.ids import uuid7
from village_wire.points import CONTENT_DEFLATED, deflate
from village_wire.presence import AgentStatus, DeviceEntry, Inventory, encode_message
from village_wire.topics import AgentChannel, AgentTopic

#: Device -> driver, kind, ability, the field of its reading, and whether that is a number. One field each: ten a minute.
DEVICES = (
    ("gate", "osdp", "reader", "door", "online", False),
    ("clinic", "osdp", "reader", "door", "online", False),
    ("square-speaker", "syn6288", "loudspeaker", "loudspeaker", "busy", False),
    ("hill-speaker", "xfs5152", "loudspeaker", "loudspeaker", "busy", False),
    ("square", "rtsp", "camera", "camera", "bits_per_s", True),
    ("bridge", "rtsp", "camera", "camera", "bits_per_s", True),
    ("amplifier", "modbus", "switch", "switch", "on", False),
    ("pump-door", "modbus", "contact", "", "on", False),
    ("river", "mqtt", "sensor", "", "water_level_m", True),
    ("greenhouse", "mqtt", "sensor", "", "temperature_c", True),
)
_EVENTS_AN_HOUR = 6


@dataclass(frozen=True, slots=True)
class Batch:
    """One message until it is acknowledged. `entries` are values or events."""

    id: str
    event: bool
    payload: bytes
    content_type: str
    entries: int


@dataclass
class Site:
    """One agent's identity and contents."""

    agent: str
    area: str
    session: str = field(default_factory=lambda: uuid.uuid4().hex)

    def topic(self, channel: AgentChannel) -> str:
        """One of the agent's topics."""
        return self._topics[channel]

    @cached_property
    def _topics(self) -> dict[AgentChannel, str]:
        channels: tuple[AgentChannel, ...] = ("status", "inventory", "telemetry", "event", "ack")
        return {channel: str(AgentTopic(self.agent, channel)) for channel in channels}

    def status(self, *, online: bool) -> bytes:
        """Birth or will of this session."""
        return encode_message(
            AgentStatus(online=online, session=self.session, version="bench", since=datetime(2026, 1, 1, tzinfo=UTC))
        )

    def inventory(self) -> bytes:
        """Ten devices."""
        entries = tuple(
            DeviceEntry(id=device, driver=driver, kind=kind, abilities=(ability,) if ability else ())
            for device, driver, kind, ability, _, _ in DEVICES
        )
        return encode_message(Inventory(agent=self.agent, area=self.area, config_version="1", devices=entries))

    def telemetry(self, start_ns: int, minutes: int) -> Iterator[Batch]:
        """The readings of so many minutes, in batches as an outbox cuts them."""
        lines: list[str] = []
        size = 0
        for minute in range(minutes):
            for index, (device, _, kind, _, name, number) in enumerate(DEVICES):
                value = f"{random.uniform(1, 100):.2f}" if number else ("true" if minute % 7 else "false")
                time_ns = start_ns + minute * 60_000_000_000 + index * 1_000_003 + random.randrange(1_000_000)
                line = f"{kind},agent={self.agent},device={device} {name}={value} {time_ns}"
                if size + len(line) > BATCH_BYTES:
                    yield _telemetry(lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line) + 1
        if lines:
            yield _telemetry(lines)

    def events(self, unix_s: float, hours: float) -> Batch:
        """What an agent tells after a start: its start, every device's state, and the door accesses of the hours before."""
        now = datetime.fromtimestamp(unix_s, UTC).isoformat()
        state = {"kind": "state_changed", "status": "ok", "code": "works", "evidence": "answers", "since": now}
        found: list[tuple[str | None, dict[str, object]]] = [
            (None, {"kind": "agent_started", "session": self.session, "version": "bench"})
        ]
        found += [(device, {**state, "session": self.session}) for device, *_ in DEVICES]
        access = {"kind": "door_access", "credential": "26:00123456", "outcome": "granted", "reason": "listed"}
        found += [("gate", {**access, "door": "gate"})] * int(_EVENTS_AN_HOUR * hours)
        ms = int(unix_s * 1000)
        events = [
            {"id": str(uuid7(ms)), "time": now, "data": data, **({"device": device} if device else {})}
            for device, data in found
        ]
        payload = json.dumps({"events": events}, separators=(",", ":")).encode()
        return Batch(uuid.uuid4().hex, True, payload, CONTENT_JSON, len(events))


def sites(count: int, *, household: bool = False) -> list[Site]:
    """So many agents in one county (330110), a hundred villages to a township, spread over its villages."""
    found = []
    for number in range(count):
        village = number % 5000
        area = f"330110{100 + village // 100:03d}{200 + village % 100:03d}"
        found.append(Site(f"bench-{number:05d}", f"{area}-g01-h{number % 1000:03d}" if household else area))
    return found


COUNTY = "330110000000"


def _telemetry(lines: list[str]) -> Batch:
    return Batch(uuid.uuid4().hex, False, deflate("\n".join(lines).encode()), CONTENT_DEFLATED, len(lines))
