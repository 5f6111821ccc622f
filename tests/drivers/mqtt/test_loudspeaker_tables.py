from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from village_drivers.mqtt.config import MqttConfig
from village_drivers.mqtt.loudspeaker_tables import LoudspeakerTable, SpeaksTable


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "needs say_topic"),
        ({"say_topic": "a/+", "without_feedback": True}, "no \\+"),
        ({"say_topic": "a", "say_payload": "hello", "without_feedback": True}, "no {text}"),
        ({"say_topic": "a", "say_payload": '{"t": {text}}', "without_feedback": True}, "looks like JSON"),
        ({"say_topic": "a"}, "without_feedback = true"),
        ({"say_topic": "cmnd/x/Backlog", "without_feedback": True}, "Backlog"),
        ({"say_topic": "a", "state_topic": "b", "state_busy": ["1"], "state_idle": ["1"]}, "both busy and idle"),
        ({"protocol": "hermes", "say_topic": "a"}, "remove say_topic"),
        ({"protocol": "hermes", "site": "a/b"}, "site"),
    ],
)
def test_wrong_tables_are_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MqttConfig.model_validate(
            {"id": "site", "driver": "mqtt", "broker": "mqtt://x", "loudspeakers": [{"id": "a", **table}]}
        )


def test_every_setting_has_a_description_and_an_example() -> None:
    for table in (LoudspeakerTable, SpeaksTable):
        for name, field in table.model_fields.items():
            assert field.description, name
            assert field.examples, name
