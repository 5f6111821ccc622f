"""From what one device announced to the devices of our inventory. Pure.

A device block becomes one device; a second switch, siren or lock of the same block, as in a double relay, becomes another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from village_drivers.mqtt.entities import ACTUATORS, DeviceInfo, Entity, Omitted

Kind = Literal["lock", "siren", "loudspeaker", "switch", "button", "sensor"]
#: Binary sensors that tell whether something is open.
CONTACT_CLASSES = frozenset({"door", "window", "opening", "garage_door"})
#: Binary sensors whose `on` is an alarm, and its code.
ALARM_CLASSES = {
    "tamper": "tamper", "smoke": "smoke", "gas": "gas", "carbon_monoxide": "carbon_monoxide", "moisture": "water",
    "safety": "safety", "problem": "problem", "battery": "battery_low",
}  # fmt: skip
_MAX_SLUG = 40


@dataclass(frozen=True, slots=True)
class Unit:
    """One device of the inventory."""

    kind: Kind
    name: str
    firmware: str
    suffix: str
    actuator: Entity | None
    entities: tuple[Entity, ...]
    #: What is left out though it would be useful, for the evidence.
    note: str = ""

    @property
    def main(self) -> Entity:
        """The entity whose availability counts: the actuator, else the first that has one."""
        return self.actuator or next((entity for entity in self.entities if entity.availability), self.entities[0])


@dataclass(slots=True)
class Announced:
    """Everything that one device block announced."""

    info: DeviceInfo
    entities: dict[str, Entity] = field(default_factory=dict)
    omitted: dict[str, Omitted] = field(default_factory=dict)
    #: The devices, the main one first; none if nothing of use was announced. Made by `refresh`.
    units: list[Unit] = field(default_factory=list)

    def refresh(self) -> None:
        """Work out name, firmware and devices after an announcement: a trigger often carries identifiers only."""
        items: list[Entity | Omitted] = [*self.entities.values(), *self.omitted.values()]
        infos = [item.info for item in items]
        name = next((info.name for info in infos if info.name), "")
        firmware = next((info.firmware for info in infos if info.firmware), "")
        identifiers = tuple(dict.fromkeys(word for info in infos for word in info.identifiers))
        self.info = DeviceInfo(self.info.identifier, identifiers[:16] or self.info.identifiers, name, firmware)
        self.units = self._make_units()

    def _make_units(self) -> list[Unit]:
        entities = sorted(self.entities.values(), key=lambda entity: entity.key)
        actuators = [entity for entity in entities if entity.role in ACTUATORS and not entity.secondary]
        actuators.sort(key=lambda entity: ACTUATORS.index(entity.role))
        others = tuple(_without_doubles(entity for entity in entities if entity.role not in ACTUATORS))
        first = actuators[0] if actuators else None
        own = (*((first,) if first else ()), *others)
        units = [self._unit(first, own, "")] if own else []
        return units + [self._unit(entity, (entity,), entity.name) for entity in actuators[1:]]

    def _unit(self, actuator: Entity | None, entities: tuple[Entity, ...], suffix: str) -> Unit:
        left_out = [f"{item.name} ({item.reason})" for item in self.omitted.values() if item.worth_telling]
        note = "; not used: " + ", ".join(left_out[:3]) if left_out and not suffix else ""
        name = f"{self.info.name} {suffix}".strip()[:80]
        return Unit(_kind(actuator, entities), name, self.info.firmware, suffix, actuator, entities, note[:300])


def slug(text: str) -> str:
    """Return text as part of a device id: lower case, digits and dashes; empty for text without any of them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_MAX_SLUG].strip("-")


def device_ids(announced: Iterable[Announced]) -> dict[tuple[str, int], str]:
    """Return the id of every unit by identifier of its device block and place in `units`.

    An id comes from the name, else from the identifier. Devices of one name all get a mark made of their identifier, so that
    an id never means another device because messages came in another order.
    """
    blocks = list(announced)
    bases = {
        block.info.identifier: slug(block.info.name) or slug(block.info.identifier) or "device" for block in blocks
    }
    counts: dict[str, int] = {}
    for base in bases.values():
        counts[base] = counts.get(base, 0) + 1
    ids: dict[tuple[str, int], str] = {}
    taken: set[str] = set()
    for block in blocks:
        identifier = block.info.identifier
        base = bases[identifier]
        if counts[base] > 1:
            base = f"{base}-{_mark(identifier)}"
        for place, unit in enumerate(block.units):
            name = "-".join(part for part in (base, slug(unit.suffix)[:14]) if part)
            if name in taken:
                name = f"{name[:57]}-{_mark(identifier + unit.entities[0].key)}"
            taken.add(name)
            ids[identifier, place] = name
    return ids


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _kind(actuator: Entity | None, entities: tuple[Entity, ...]) -> Kind:
    if actuator is not None:
        return {"lock": "lock", "siren": "siren", "speaker": "loudspeaker"}.get(actuator.role, "switch")  # type: ignore[return-value]
    return "button" if any(entity.role in {"trigger", "event"} for entity in entities) else "sensor"


def _without_doubles(entities: Iterable[Entity]) -> Iterable[Entity]:
    """Leave out a second entity of the same field: a reading has one value per field."""
    fields: set[str] = set()
    kept = sorted(entities, key=lambda entity: (entity.secondary, entity.key))
    for entity in kept:
        name = _field(entity)
        if name in fields or (name == "on" and entity.secondary):
            continue
        if name:
            fields.add(name)
        yield entity


def _field(entity: Entity) -> str:
    if entity.measure is not None:
        return entity.measure.field
    if entity.role != "binary":
        return ""
    if entity.device_class in CONTACT_CLASSES:
        return "contact"
    return ALARM_CLASSES.get(entity.device_class, "on")
