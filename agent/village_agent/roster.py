"""The drivers of a configuration and the devices that they offer now."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Self

from village_agent.config import AGENT_DEVICE, Settings
from village_agent.site_broker import AgentServices
from village_drivers.abilities import abilities_of
from village_drivers.kit import Device, Driver, DriverConfig
from village_wire.broadcasts import LOUDSPEAKER_ABILITIES
from village_wire.presence import MAX_DEVICES, DeviceEntry
from village_wire.settings import InvalidSettings, Problem, problem_at
from village_wire.tags import ordered

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unit:
    """One configured driver."""

    config: DriverConfig
    driver: Driver

    def devices(self) -> Mapping[str, Device]:
        """The driver's devices now."""
        return self.driver.devices()

    def rows(self) -> Mapping[str, Device]:
        """The devices or, while none has announced itself, the driver under its own id, so that its state can be seen."""
        return self.devices() or {self.config.id: Device("driver", None, self.config.name)}


class Roster:
    """All units, and all devices across them."""

    def __init__(self, units: Mapping[str, Unit], tags: Sequence[str] = ()) -> None:
        """`units` by the id in the configuration; `tags` are those of all devices."""
        self.units = units
        self._tags = tags

    @classmethod
    def build(cls, settings: Settings, client_suffix: str = "") -> Self:
        """Make the drivers.

        Raises:
            InvalidSettings: two drivers offer the same device, or a door names a device that can't exist.
        """
        units: dict[str, Unit] = {}
        for entry in settings.devices:
            services = AgentServices(f"{settings.agent_id}-{entry.config.id}{client_suffix}", settings.state_dir)
            units[entry.config.id] = Unit(entry.config, entry.type(entry.config, services))
        problems: list[Problem] = []
        owner: dict[str, int] = {}
        for index, unit in enumerate(units.values()):
            place: tuple[str | int, ...] = ("devices", index)
            for device in unit.devices():
                if device == AGENT_DEVICE:
                    problems.append(
                        problem_at(settings.text, place, f"{device!r} is the agent itself; choose another id")
                    )
                elif owner.setdefault(device, index) != index:
                    reason = f"the device id {device!r} is already used in devices.{owner[device]}"
                    problems.append(problem_at(settings.text, place, reason))
        known = {device: unit.devices()[device] for unit in units.values() for device in unit.devices()}
        # Devices that announce themselves while running are not known yet.
        complete = all(unit.devices() and not getattr(unit.driver, "discovers", False) for unit in units.values())
        for index, door in enumerate(settings.doors):
            for key, device in (("reader", door.reader), ("lock", door.lock)):
                if complete and device not in known:
                    problems.append(problem_at(settings.text, ("doors", index, key), f"there is no device {device!r}"))
            if door.lock in known and "door" not in abilities_of(known[door.lock].handle):
                problems.append(problem_at(settings.text, ("doors", index, "lock"), f"{door.lock!r} has no lock"))
        for index, table in enumerate(settings.loudspeakers.devices):
            for key, wanted, ability in table.needs:
                at = ("loudspeakers", "devices", index, key)
                able = set(LOUDSPEAKER_ABILITIES if ability == "loudspeaker" else (ability,))
                if wanted is not None and complete and wanted not in known:
                    problems.append(
                        problem_at(settings.text, at, f"there is no device {wanted!r}; {_choice(known, able)}")
                    )
                elif wanted in known and able.isdisjoint(abilities_of(known[wanted].handle)):
                    reason = f"{wanted!r} is no {ability}; {_choice(known, able)}"
                    problems.append(problem_at(settings.text, at, reason))
        if problems:
            raise InvalidSettings(settings.file, problems)
        return cls(units, settings.agent.tags)

    def devices(self) -> Iterator[tuple[str, Unit, Device]]:
        """Every device, or a driver that has none yet, with its id and its unit. Of two with the same id the first counts."""
        seen: set[str] = set()
        for unit in self.units.values():
            for name, device in unit.rows().items():
                if name not in seen:
                    seen.add(name)
                    yield name, unit, device

    def find(self, device: str) -> Device | None:
        """Return a device, or None if there is none with this id now."""
        for unit in self.units.values():
            found = unit.devices().get(device)
            if found is not None:
                return found
        return None

    def tags(self, unit: Unit) -> tuple[str, ...]:
        """The tags that a unit's devices carry: its own and the agent's."""
        return ordered((*self._tags, *unit.config.tags))

    def inventory(self) -> tuple[DeviceEntry, ...]:
        """The devices as they stand in the agent's inventory; those beyond `MAX_DEVICES` are left out."""
        entries = [
            DeviceEntry(
                id=name,
                driver=unit.config.driver,
                kind=device.kind[:40],
                abilities=abilities_of(device.handle),
                name=(device.name or (unit.config.name if name == unit.config.id else ""))[:80],
                firmware=device.firmware[:80],
                tags=self.tags(unit),
            )
            for name, unit, device in self.devices()
        ]
        if len(entries) > MAX_DEVICES:
            _log.warning("%d devices are more than an inventory holds (%d)", len(entries), MAX_DEVICES)
        return tuple(entries[:MAX_DEVICES])


def _choice(known: Mapping[str, Device], able: AbstractSet[str]) -> str:
    fitting = [name for name, device in known.items() if not able.isdisjoint(abilities_of(device.handle))]
    return f"choose one of {', '.join(fitting[:10])}" if fitting else "none is configured"
