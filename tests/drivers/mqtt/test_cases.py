from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.mqtt.messages import CASES, expected_of, messages_of
from tests.drivers.recorder import Recorder
from village_drivers.mqtt.site import Site


def _sorted(readings: Iterable[Any]) -> list[str]:
    return sorted(json.dumps(reading, sort_keys=True) for reading in readings)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Path) -> None:
    report = Recorder()
    site = Site("homeassistant", ("*",), 100, lambda _key, _on: None)
    site.connected(0.0)
    subscribed: set[str] = set()
    for number, message in enumerate(messages_of(case)):
        changes = site.receive(message, float(number), report)
        subscribed.update(changes.subscribe)
        if not message.topic.startswith("homeassistant/"):
            assert message.topic in subscribed
    expected = expected_of(case)
    devices: dict[str, Any] = {}
    for name, unit in site.units.items():
        abilities = [] if unit.actuator is None else ["door"] if unit.kind == "lock" else ["switch"]
        devices[name] = {"kind": unit.kind, "name": unit.name, "firmware": unit.firmware, "abilities": abilities}
        if unit.actuator is not None:
            devices[name]["command"] = [
                unit.actuator.command_topic,
                unit.actuator.command_on,
                unit.actuator.command_off,
            ]
    assert devices == expected["devices"]
    assert _sorted(report.readings) == _sorted(expected["readings"])
    assert [[name, event.model_dump(mode="json")] for name, event in report.events] == expected["events"]  # type: ignore[union-attr]
    assert {name: report.status(name) for name in report.states} == expected["states"]
    for name, words in expected.get("evidence", {}).items():
        assert words in report.states[name][2]
