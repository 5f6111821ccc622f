"""Whether each device is well: availability topics, silence, tamper. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from village_drivers.kit import Message, Report
from village_drivers.mqtt.entities import Availability, Entity
from village_drivers.mqtt.templates import Payload
from village_drivers.mqtt.units import Unit
from village_wire.states import Status


class Conditions:
    """What availability topics said and when each entity was last heard."""

    def __init__(self) -> None:
        self._said: dict[Availability, tuple[bool, int]] = {}
        self._heard: dict[str, float] = {}
        self._alarms: dict[str, frozenset[str]] = {}
        self._order = 0
        self._connected_at = 0.0
        #: Device id -> what is wrong with it though it is online; set and removed by the driver.
        self.troubles: dict[str, str] = {}

    def connected(self, now: float) -> None:
        """Forget what the old connection said."""
        self._said.clear()
        self._heard.clear()
        self._connected_at = now

    def hear(self, unit: Unit, message: Message, payload: Payload, now: float) -> None:
        """Take in one message that may concern a device."""
        for entity in unit.entities:
            for item in entity.availability:
                if item.topic == message.topic:
                    online = item.read(payload)
                    if online is not None:
                        self._order += 1
                        self._said[item] = (online, self._order)
            if entity.state_topic == message.topic and not message.retained and entity.text(payload) is not None:
                self._heard[entity.key] = now

    def alarms(self, name: str, active: frozenset[str]) -> None:
        """Set the alarms that a device reports now."""
        if active:
            self._alarms[name] = active
        else:
            self._alarms.pop(name, None)

    def online(self, entity: Entity) -> bool | None:
        """Return whether an entity is online; None while unknown, also where it has no availability topic."""
        said = [self._said.get(item) for item in entity.availability]
        known = [word for word in said if word is not None]
        if not known:
            return None
        if entity.availability_mode == "latest":
            return max(known, key=lambda word: word[1])[0]
        if entity.availability_mode == "any":
            return any(word[0] for word in known)
        if any(not word[0] for word in known):
            return False
        return True if len(known) == len(said) else None

    def tell(self, name: str, unit: Unit, now: float, report: Report) -> None:
        """Report a device's condition."""
        status, code, evidence = self._judge(name, unit, now)
        report.state(name, status, code, evidence + unit.note)

    def keep(self, units: Mapping[str, Unit]) -> None:
        """Forget everything about other devices than these."""
        entities = [entity for unit in units.values() for entity in unit.entities]
        items = {item for entity in entities for item in entity.availability}
        keys = {entity.key for entity in entities}
        self._said = {item: said for item, said in self._said.items() if item in items}
        self._heard = {key: at for key, at in self._heard.items() if key in keys}
        self._alarms = {name: active for name, active in self._alarms.items() if name in units}
        self.troubles = {name: text for name, text in self.troubles.items() if name in units}

    def _judge(self, name: str, unit: Unit, now: float) -> tuple[Status, str, str]:
        main = unit.main
        online = self.online(main)
        topics = ", ".join(item.topic for item in main.availability)[:200]
        if online is False:
            return "down", "device_offline", f"{topics}: offline"
        if online is None and main.availability:
            return "unknown", "starting", f"{topics}: no word yet"
        heard = any(entity.key in self._heard for entity in unit.entities)
        if online is None and not heard and any(entity.state_topic for entity in unit.entities):
            return "unknown", "not_reported", "announced; no message yet"
        silent = self._silent(unit, now)
        if silent is not None:
            return "down", "device_offline", f"no message for {silent:g} s"
        if name in self.troubles:
            return "degraded", "no_answer", self.troubles[name]
        if "tamper" in self._alarms.get(name, ()):
            return "degraded", "tamper", "the device reports tampering"
        return "ok", "works", f"{topics}: online" if online else "messages come in"

    def _silent(self, unit: Unit, now: float) -> float | None:
        """Return the longest `expire_after` if every entity that has one was silent for as long, else None."""
        expiring = [(entity.expire_after, entity.key) for entity in unit.entities if entity.expire_after]
        if not expiring or any(now - self._heard.get(key, self._connected_at) < seconds for seconds, key in expiring):
            return None
        return max(seconds for seconds, _ in expiring)
