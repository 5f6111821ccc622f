"""For whom a command is: this agent or not, and which of its devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from village_agent.identity.keyring import Keys
from village_agent.roster import Roster
from village_drivers.abilities import abilities_of
from village_drivers.kit import Device
from village_wire.areas import contains
from village_wire.commands import ABILITIES, Command, Target, Withdraw
from village_wire.tags import meant, tagged


@dataclass(slots=True)
class Addressee:
    """Whose commands count, and which are meant for us. The area changes when the collector moves this agent."""

    agent: str
    area: str
    keys: Keys

    def why_not(self, target: Target) -> str:
        """Return why a target does not name this agent or an area of it, empty if it does."""
        if target.agent is not None and target.agent != self.agent:
            return "meant for another agent"
        if target.area is not None and not contains(target.area, self.area):
            return "meant for another area"
        return ""


def receivers(command: Command, roster: Roster, holds: Callable[[UUID, str], bool]) -> dict[str, Device]:
    """Return the devices here that are to carry a command out.

    A withdrawal is also for whoever `holds` its broadcast (id and device), whatever tags the device carries by then.
    """
    target, arguments = command.target, command.arguments

    def wanted(name: str, tags: tuple[str, ...]) -> bool:
        if meant(tags, target.tags, target.without):
            return True
        return isinstance(arguments, Withdraw) and holds(arguments.broadcast, name)

    return {
        name: device
        for name, unit, device in roster.devices()
        if target.device in {None, name}
        and any(ability in ABILITIES[arguments.kind] for ability in abilities_of(device.handle))
        and wanted(name, roster.tags(unit))
    }


def is_ignored(target: Target) -> bool:
    """Tell whether an agent without a device for it keeps quiet: the area's other agents are meant, and their collector knows it."""
    return target.area is not None and bool(target.tags or target.without)


def why_nobody(command: Command) -> str:
    """Return what is answered where no device can carry a command out."""
    target, kind = command.target, command.arguments.kind
    if target.device is not None:
        return f"this device can't {kind}"
    return f"no device here{' with ' + tagged('', target.tags) if target.tags else ''} can {kind}"
