"""What every driver is made of.

A driver is a class with a pydantic `Config`, the devices that it offers, and one coroutine `run(report)` that connects,
works and raises. It never retries: the supervisor calls `run` again. It never logs a failure: it raises it once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from village_wire.events import Alarm, ButtonPressed
from village_wire.ids import DeviceId
from village_wire.points import Value
from village_wire.states import Status
from village_wire.tags import Tags


class DriverError(Exception):
    """Base of the three errors a driver raises. `code` is a key of `village_wire.states.ADVICE`, the text is the evidence."""

    def __init__(self, code: str, evidence: str) -> None:
        super().__init__(evidence)
        self.code = code


class NotConnected(DriverError):
    """The device can't be reached now; the supervisor tries again."""


class Misconfigured(DriverError):
    """Trying again can't help: a person must change the configuration or the site."""


class Refused(DriverError):
    """The device answered a command with no."""


class DriverConfig(BaseModel):
    """Settings common to all drivers. Each driver's `Config` adds its own, with a description and an example per field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: DeviceId
    driver: str
    name: str = ""
    tags: Tags = ()


@dataclass(frozen=True, slots=True)
class CardRead:
    """A card at a reader: `bits` significant bits, left-aligned in `data`. Text form: `26:00123456`."""

    bits: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.bits}:{self.data.hex()}"


@dataclass(frozen=True, slots=True)
class KeysPressed:
    """Digits typed at a reader. They may be a PIN: never log or publish them."""

    digits: str = field(repr=False)


DriverEvent = CardRead | KeysPressed | Alarm | ButtonPressed


class Report(Protocol):
    """Where a driver tells what it sees. `device` is the id of one of the driver's devices. No method blocks or raises."""

    def reading(self, device: str, kind: str, fields: Mapping[str, Value]) -> None:
        """One reading, taken now. `kind` and `fields` as in `village_wire.points.KINDS`; one that does not fit is counted and logged."""

    def event(self, device: str, event: DriverEvent) -> None:
        """Something happened now."""

    def state(self, device: str, status: Status, code: str, evidence: str) -> None:
        """The device's condition as the driver sees it. Repeating the same status and code is cheap and harmless."""

    def devices_changed(self) -> None:
        """`Driver.devices` has other members, names or firmware than before."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device as it stands in the inventory. `handle` carries the abilities (see `abilities.py`)."""

    kind: str
    handle: object
    name: str = ""
    firmware: str = ""


class Driver(Protocol):
    """What the supervisor knows of a driver."""

    Config: ClassVar[type[DriverConfig]]

    def __init__(self, config: Any, services: Services) -> None:
        """Keep the settings; do nothing that can fail or block."""

    def devices(self) -> Mapping[str, Device]:
        """The devices by id; a single-device driver returns itself under its configured id. May grow while running."""

    async def run(self, report: Report) -> None:
        """Connect, report, serve the abilities until cancelled. Raises `NotConnected` or `Misconfigured`; never returns while all is well.

        Reports `ok` for a device once it has answered. On any exit all resources are released and pending abilities raise.
        """


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to reach the site's own MQTT broker."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message."""

    topic: str
    payload: bytes
    retained: bool


class BrokerPort(Protocol):
    """A connection to an MQTT broker, as the `mqtt` driver needs it."""

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1; raises `NotConnected`."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish at QoS 1 and wait for the broker's answer: False if it says that nobody subscribes to it; raises `NotConnected`."""

    def messages(self) -> AsyncIterator[Message]:
        """Messages as they come; raises `NotConnected` when the connection ends."""


class Services(Protocol):
    """What the agent lends to drivers."""

    @property
    def state_dir(self) -> Path:
        """A folder that survives a restart; a driver uses files named after its id only."""

    def connect_broker(self, settings: BrokerSettings) -> AbstractAsyncContextManager[BrokerPort]:
        """Connect to an MQTT broker; entering raises `NotConnected` or, for a wrong password, `Misconfigured`."""
