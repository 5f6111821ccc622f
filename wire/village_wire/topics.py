"""MQTT topics, built and parsed here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from village_wire.areas import InvalidArea, chain, parse_area
from village_wire.ids import AGENT_PATTERN

PREFIX = "village/1"
#: Groups of shared subscriptions over which several collectors divide the load begin with this.
COLLECTORS = "collectors"

AgentChannel = Literal[
    "status", "inventory", "telemetry", "event", "time", "ack", "command", "clock", "keys", "schedule"
]
AGENT_CHANNELS: tuple[AgentChannel, ...] = (
    "status",
    "inventory",
    "telemetry",
    "event",
    "time",
    "ack",
    "command",
    "clock",
    "keys",
    "schedule",
)
_AGENT = re.compile(AGENT_PATTERN)


class InvalidTopic(ValueError):
    """The topic is not one of ours."""


@dataclass(frozen=True, slots=True)
class AgentTopic:
    """`village/1/agent/<agent>/<channel>`."""

    agent: str
    channel: AgentChannel

    def __str__(self) -> str:
        return f"{PREFIX}/agent/{self.agent}/{self.channel}"


@dataclass(frozen=True, slots=True)
class AreaCommandTopic:
    """`village/1/area/<code>/command`."""

    area: str

    def __str__(self) -> str:
        return f"{PREFIX}/area/{self.area}/command"


@dataclass(frozen=True, slots=True)
class LiveTopic:
    """`village/1/area/<code>/live/<stream>`: live voice for those in an area."""

    area: str
    stream: UUID

    def __str__(self) -> str:
        return f"{PREFIX}/area/{self.area}/live/{self.stream}"


def parse_topic(text: str) -> AgentTopic | AreaCommandTopic | LiveTopic:
    """Take a topic apart; raise `InvalidTopic` for one that is not ours."""
    parts = text.split("/")
    if len(parts) == 5 and "/".join(parts[:2]) == PREFIX:
        if parts[2] == "agent" and _AGENT.fullmatch(parts[3]):
            for channel in AGENT_CHANNELS:
                if parts[4] == channel:
                    return AgentTopic(parts[3], channel)
        if parts[2] == "area" and parts[4] == "command":
            try:
                return AreaCommandTopic(parse_area(parts[3]))
            except InvalidArea as error:
                raise InvalidTopic(str(error)) from None
    if len(parts) == 6 and "/".join(parts[:3]) == f"{PREFIX}/area" and parts[4] == "live":
        try:
            topic = LiveTopic(parse_area(parts[3]), UUID(parts[5]))
        except ValueError as error:
            raise InvalidTopic(str(error)) from None
        if str(topic) == text:
            return topic
    raise InvalidTopic(f"not a topic of this system: {text[:80]!r}")


def agent_subscriptions(agent: str, area: str) -> list[str]:
    """Topics that an agent listens to: its own commands, acks, time, command keys, schedules and status, and the commands of its area and of all above it."""
    channels: tuple[AgentChannel, ...] = ("command", "ack", "clock", "keys", "schedule", "status")
    own = [str(AgentTopic(agent, channel)) for channel in channels]
    return [*own, *(str(AreaCommandTopic(code)) for code in chain(area)), *map(live_filter, chain(area))]


def live_filter(area: str) -> str:
    """The topics of all live voice for an area."""
    return f"{PREFIX}/area/{area}/live/#"


def collector_subscription(channel: AgentChannel, group: str = COLLECTORS) -> str:
    """The shared subscription of all collectors to one channel of every agent.

    One group per channel: rumqttd (iotcore 0.4.0) takes the first filter of a group for all and delivers nothing of the others.
    """
    return f"$share/{group}-{channel}/{PREFIX}/agent/+/{channel}"
