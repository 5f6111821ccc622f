"""Whom a command is meant for, as people type it: an area, an agent, or a device as `agent/device`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from village_cli.failures import USAGE, Failure
from village_cli.text import Bilingual

#: What begins like an area code is one, although twelve digits would also do as the id of an agent.
_LIKE_AREA = re.compile(r"[0-9]{12}(-[gh].*)?", re.ASCII | re.DOTALL)


class InvalidTarget(Failure):
    """The text names no area, agent or device."""

    def __init__(self, text: str, reason: str = "") -> None:
        shown = text[:80]
        super().__init__(
            Bilingual(
                f"{shown!r} names no target{': ' + reason if reason else ''}.",
                f"{shown!r} 不是有效目标{'：' + reason if reason else ''}。",
            ),
            Bilingual(
                "Write an area (441900003001, 441900003001-g02), an agent (gate-1) or a device (gate-1/speaker).",
                "请写区域（441900003001、441900003001-g02）、代理（gate-1）或设备（gate-1/speaker）。",
            ),
            exit_code=USAGE,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One agent, one device of an agent, or everything in an area."""

    area: str = ""
    agent: str = ""
    device: str = ""

    def document(self) -> dict[str, str]:
        """Return the target as the HTTP API takes it."""
        named = {"area": self.area, "agent": self.agent, "device": self.device}
        return {key: value for key, value in named.items() if value}

    def __str__(self) -> str:
        return self.area or (f"{self.agent}/{self.device}" if self.device else self.agent)


def parse_target(text: str) -> Target:
    """Return whom a text names; raise `InvalidTarget`."""
    from village_wire.areas import InvalidArea, parse_area
    from village_wire.ids import AGENT_PATTERN, DEVICE_PATTERN

    if _LIKE_AREA.fullmatch(text):
        try:
            return Target(area=parse_area(text))
        except InvalidArea as error:
            raise InvalidTarget(text, str(error)) from None
    agent, slash, device = text.partition("/")
    # `$` also matches before a line end, so the patterns need `fullmatch`.
    if not re.fullmatch(AGENT_PATTERN, agent) or (slash and not re.fullmatch(DEVICE_PATTERN, device)):
        raise InvalidTarget(text)
    return Target(agent=agent, device=device)


def parse_any_device(text: str) -> Target:
    """Return the device that `AGENT/DEVICE` names, or for `AGENT` the agent itself as its device `agent`; raise `InvalidTarget`."""
    target = parse_target(text)
    if not target.agent:
        raise InvalidTarget(text, "AGENT/DEVICE")
    return target if target.device else Target(agent=target.agent, device="agent")


def parse_device(text: str) -> Target:
    """Return the device that `AGENT/DEVICE` names; raise `InvalidTarget`."""
    target = parse_target(text)
    if not target.device:
        raise InvalidTarget(text, "AGENT/DEVICE")
    return target
