"""Whom a command is meant for, as people type it: an area, an agent, or a device as `agent/device`; tags narrow, as in `gate-1/tag:hall`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from village_cli.documents import text as member
from village_cli.failures import USAGE, Failure
from village_wire.language import Bilingual

#: What begins like an area code is one, although twelve digits would also do as the id of an agent.
_LIKE_AREA = re.compile(r"[0-9]{12}(-[gh].*)?", re.ASCII | re.DOTALL)

_TAG = "tag:"


class InvalidTarget(Failure):
    """The text names no area, agent or device."""

    def __init__(self, text: str, reason: str = "", chinese: str = "") -> None:
        shown = text[:80]
        super().__init__(
            Bilingual(
                f"{shown!r} names no target{': ' + reason if reason else ''}.",
                f"{shown!r} 不是有效目标{'：' + (chinese or reason) if reason else ''}。",
            ),
            Bilingual(
                "Write an area (441900003001, 441900003001-g02), an agent (gate-1), a device (gate-1/speaker) or tags"
                " (tag:school, 441900003001/tag:school,clinic).",
                "请写区域（441900003001、441900003001-g02）、代理（gate-1）、设备（gate-1/speaker）或标签"
                "（tag:school、441900003001/tag:school,clinic）。",
            ),
            exit_code=USAGE,
            reason="" if chinese else reason,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One agent, one device of an agent, or everything in an area; with tags, their devices that carry one of them.

    Tags alone mean such devices wherever one may do what is asked for.
    """

    area: str = ""
    agent: str = ""
    device: str = ""
    tags: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the target as the HTTP API takes it."""
        named = {"area": self.area, "agent": self.agent, "device": self.device, "tags": list(self.tags)}
        return {key: value for key, value in named.items() if value}

    def __str__(self) -> str:
        place = self.area or (f"{self.agent}/{self.device}" if self.device else self.agent)
        return "/".join(filter(None, (place, _TAG + ",".join(self.tags) if self.tags else "")))


def parse_target(text: str) -> Target:
    """Return whom a text names; raise `InvalidTarget`."""
    place, tag, words = text.partition(_TAG)
    if not tag or (place and not place.endswith("/")):
        return _place(text)
    target = _place(place[:-1]) if place else Target()
    if target.device:
        raise InvalidTarget(text, "a device needs no tag", "单个设备无需标签")
    return Target(target.area, target.agent, tags=_tags(text, words))


def target_of(document: Mapping[str, Any]) -> Target:
    """Return a target as a document of the collector names it."""
    tags = document.get("tags")
    words = tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()
    return Target(member(document, "area"), member(document, "agent"), member(document, "device"), words)


def _tags(text: str, words: str) -> tuple[str, ...]:
    from village_wire.tags import MAX_TAGS, TAG_PATTERN, ordered

    tags = ordered(words.split(","))
    if not all(re.fullmatch(TAG_PATTERN, tag) for tag in tags) or any(tag.endswith("\n") for tag in tags):
        raise InvalidTarget(text, "a tag has 1 to 32 of a-z, 0-9 and -", "标签为 1 至 32 个 a-z、0-9 或 - 字符")
    if len(tags) > MAX_TAGS:
        raise InvalidTarget(text, f"more than {MAX_TAGS} tags", f"标签超过 {MAX_TAGS} 个")
    return tags


def _place(text: str) -> Target:
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
    if not target.agent or target.tags:
        raise InvalidTarget(text, "AGENT/DEVICE")
    return target if target.device else Target(agent=target.agent, device="agent")


def parse_device(text: str) -> Target:
    """Return the device that `AGENT/DEVICE` names; raise `InvalidTarget`."""
    target = parse_target(text)
    if not target.device:
        raise InvalidTarget(text, "AGENT/DEVICE")
    return target
