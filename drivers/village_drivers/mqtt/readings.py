"""What state messages say, as readings and events. Pure.

A message that the broker kept (retained) is as old as it may be: it tells a state, but never makes a reading or a button press.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from village_drivers.kit import Message, Report
from village_drivers.mqtt.entities import ACTUATORS, Entity
from village_drivers.mqtt.templates import Payload
from village_drivers.mqtt.units import ALARM_CLASSES, CONTACT_CLASSES, Unit
from village_wire.events import Alarm, ButtonPressed
from village_wire.points import Value

#: Unchanged values are reported this often; some devices send theirs every second.
REPEAT_SECONDS = 300.0


class Readings:
    """Turns messages into reports; remembers states, alarms and what was reported last."""

    def __init__(self, on_state: Callable[[str, bool], None]) -> None:
        self._on_state = on_state
        self._alarms: dict[str, dict[str, bool]] = {}
        #: Last state of every lock, siren and switch by entity key, kept messages included.
        self.states: dict[str, bool] = {}
        self._reported: dict[tuple[str, str], tuple[Mapping[str, Value], float]] = {}

    def connected(self) -> None:
        """Report every value once again after a new connection."""
        self._reported.clear()

    def keep(self, names: set[str], keys: set[str]) -> None:
        """Forget everything about other devices and entities than these."""
        self.states = {key: on for key, on in self.states.items() if key in keys}
        self._alarms = {name: alarms for name, alarms in self._alarms.items() if name in names}
        self._reported = {slot: last for slot, last in self._reported.items() if slot[0] in names}

    def active_alarms(self, name: str) -> frozenset[str]:
        """Return the codes of a device's alarms that are on."""
        return frozenset(code for code, on in self._alarms.get(name, {}).items() if on)

    def hear(self, name: str, unit: Unit, message: Message, payload: Payload, now: float, report: Report) -> None:
        """Report what a message says of a device."""
        fields: dict[str, dict[str, Value]] = {}
        for entity in unit.entities:
            if entity.state_topic != message.topic:
                continue
            if entity.role == "measure":
                value = entity.number(payload)
                if value is not None and entity.measure is not None:
                    kind = "lock" if unit.kind == "lock" and entity.measure.field == "battery_percent" else "sensor"
                    fields.setdefault(kind, {})[entity.measure.field] = value
            elif entity.role in {"trigger", "event"}:
                action = None if message.retained else entity.pressed(payload)
                if action:
                    report.event(name, ButtonPressed(action=action))
            else:
                self._state(name, entity, message, payload, fields, report)
        if not message.retained:
            for kind, values in fields.items():
                self._report(name, kind, values, now, report)

    def _state(
        self,
        name: str,
        entity: Entity,
        message: Message,
        payload: Payload,
        fields: dict[str, dict[str, Value]],
        report: Report,
    ) -> None:
        on = entity.on(payload)
        if on is None:
            return
        if entity.role in ACTUATORS:
            self.states[entity.key] = on
            if entity.role == "lock":
                fields.setdefault("lock", {})["locked"] = not on
            else:
                fields.setdefault("switch", {})["on"] = on
            if not message.retained:
                self._on_state(entity.key, on)
        elif entity.device_class in ALARM_CLASSES:
            self._alarm(name, ALARM_CLASSES[entity.device_class], on, message, report)
        else:
            kind = "contact" if entity.device_class in CONTACT_CLASSES else "sensor"
            fields.setdefault(kind, {})["on"] = on

    def _alarm(self, name: str, code: str, on: bool, message: Message, report: Report) -> None:
        alarms = self._alarms.setdefault(name, {})
        before = alarms.get(code)
        alarms[code] = on
        # An alarm that began while nobody listened is told late rather than never.
        if on != before and (on or before is not None):
            report.event(
                name, Alarm(code=code, active=on, evidence="began before this connection" if message.retained else "")
            )

    def _report(self, name: str, kind: str, values: dict[str, Value], now: float, report: Report) -> None:
        last = self._reported.get((name, kind))
        if last is not None and last[0] == values and now - last[1] < REPEAT_SECONDS:
            return
        self._reported[name, kind] = (values, now)
        report.reading(name, kind, values)
