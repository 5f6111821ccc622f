from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_wire.topics import (
    AGENT_CHANNELS,
    AgentTopic,
    AreaCommandTopic,
    InvalidTopic,
    LiveTopic,
    agent_subscriptions,
    collector_subscription,
    parse_topic,
)


@given(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True), st.sampled_from(AGENT_CHANNELS))
def test_agent_topics_round_trip(agent: str, channel: str) -> None:
    topic = AgentTopic(agent, channel)  # type: ignore[arg-type]
    assert parse_topic(str(topic)) == topic


def test_area_topics_round_trip() -> None:
    topic = AreaCommandTopic("330110101205-g01")
    assert parse_topic(str(topic)) == topic
    live = LiveTopic("330110101205", UUID("0199f9f4-0000-7000-8000-000000000001"))
    assert parse_topic(str(live)) == live


@pytest.mark.parametrize(
    "text",
    [
        "village/1/agent/A/status",
        "village/1/agent/a/secret",
        "village/2/agent/a/status",
        "village/1/agent/a/status/x",
        "village/1/area/12/command",
        "village/1/area/12/live/0199f9f4-0000-7000-8000-000000000001",
        "village/1/area/330110101205/live/0199F9F4-0000-7000-8000-000000000001",
        "village/1/area/330110101205/live/1",
        "village/1/agent/a\n/status",
        "",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidTopic):
        parse_topic(text)


@given(st.text(max_size=100))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidTopic):
        assert str(parse_topic(text)) == text


def test_an_agent_hears_its_area_and_all_above() -> None:
    assert agent_subscriptions("a", "330110101205-g01") == [
        "village/1/agent/a/command",
        "village/1/agent/a/ack",
        "village/1/agent/a/clock",
        "village/1/agent/a/keys",
        "village/1/agent/a/schedule",
        "village/1/agent/a/status",
        "village/1/area/330110101205-g01/command",
        "village/1/area/330110101205/command",
        "village/1/area/330110101000/command",
        "village/1/area/330110000000/command",
        "village/1/area/330100000000/command",
        "village/1/area/330000000000/command",
        "village/1/area/330110101205-g01/live/#",
        "village/1/area/330110101205/live/#",
        "village/1/area/330110101000/live/#",
        "village/1/area/330110000000/live/#",
        "village/1/area/330100000000/live/#",
        "village/1/area/330000000000/live/#",
    ]


def test_collectors_share_a_channel() -> None:
    assert collector_subscription("telemetry") == "$share/collectors-telemetry/village/1/agent/+/telemetry"
