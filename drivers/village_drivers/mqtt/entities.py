"""What an announcement says, after reading: devices, their entities and how to tell whether they are online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from village_drivers.mqtt.measures import Measure
from village_drivers.mqtt.payloads import PayloadTemplate
from village_drivers.mqtt.templates import Payload, Template, number

Role = Literal["measure", "binary", "switch", "siren", "speaker", "lock", "trigger", "event"]
#: Roles that take commands, the most important first.
ACTUATORS: tuple[Role, ...] = ("lock", "siren", "speaker", "switch")


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The device block of an announcement. `identifier` is what tells one device from another."""

    identifier: str
    identifiers: tuple[str, ...]
    name: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Availability:
    """One topic that says whether a device is online."""

    topic: str
    online: str
    offline: str
    template: Template | None = None

    def read(self, payload: Payload) -> bool | None:
        """Return whether the device is online, or None for a message that says neither."""
        said = self.template.render(payload) if self.template is not None else payload.text
        if said is None:
            # Zigbee2MQTT before 1.30 sends plain words where its template expects JSON.
            said = payload.text
        return {self.online: True, self.offline: False}.get(said)


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity. `on` of a lock means released; of a trigger nothing.

    `command_on` and `command_off` are whole payloads. `state_topic` is empty where the device tells nothing back.
    """

    key: str
    role: Role
    name: str
    info: DeviceInfo
    state_topic: str = ""
    template: Template | None = None
    command_topic: str = ""
    command_on: str = ""
    command_off: str = ""
    state_on: str = "ON"
    state_off: str = "OFF"
    measure: Measure | None = None
    device_class: str = ""
    action: str = ""
    #: How a text is said to a speaker.
    say: PayloadTemplate | None = None
    availability: tuple[Availability, ...] = ()
    availability_mode: Literal["all", "any", "latest"] = "latest"
    expire_after: float | None = None
    #: Zigbee2MQTT and ESPHome mark settings and diagnoses with a category; they are never what a device is for.
    secondary: bool = False

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that the entity listens to."""
        own = (self.state_topic,) if self.state_topic else ()
        return own + tuple(item.topic for item in self.availability)

    def text(self, payload: Payload) -> str | None:
        """Return what the message says of this entity, or None if it says nothing."""
        return self.template.render(payload) if self.template is not None else payload.text

    def number(self, payload: Payload) -> float | None:
        """Return a measured value in the unit of its field."""
        text = self.text(payload)
        raw = None if text is None else number(text.strip())
        if raw is None or self.measure is None:
            return None
        converted = self.measure.convert(raw)
        return number(str(converted))

    def on(self, payload: Payload) -> bool | None:
        """Return the state of a switch, lock or contact, or None if the message says neither."""
        text = self.text(payload)
        if self.role == "siren" and self.template is None and isinstance(payload.document, dict):
            # A siren may tell its state as JSON (Home Assistant, "MQTT siren", state_topic).
            text = str(payload.document.get("state", text))
        if text is None:
            return None
        return {self.state_on: True, self.state_off: False}.get(text.strip())

    def pressed(self, payload: Payload) -> str | None:
        """Return the action of a button or event, or None if the message is none."""
        text = self.text(payload)
        if self.role == "trigger":
            return self.action if text is not None and text == self.state_on else None
        if self.template is None and isinstance(payload.document, dict):
            kind = payload.document.get("event_type")
            return kind[:80] if isinstance(kind, str) and kind else None
        return text[:80] if text else None


@dataclass(frozen=True, slots=True)
class Omitted:
    """An entity that is left out, and why. `worth_telling` for one that would have been used but for its template."""

    key: str
    name: str
    info: DeviceInfo
    reason: str
    worth_telling: bool = False
