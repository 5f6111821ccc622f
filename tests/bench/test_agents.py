"""The rows about agents for real, with few of them: nothing is missing, and every figure is there."""

from __future__ import annotations

import pytest

from tests.bench import agent_footprint, agents, fanout, traffic
from tests.peers import peer


@pytest.fixture(autouse=True)
def _broker() -> None:
    peer("mosquitto")


@pytest.mark.timeout(60)
def test_nothing_is_missing_after_a_power_cut() -> None:
    figures = agents.measure(30, 1.0, 1, lambda _: None)
    assert figures["stored"]["missing"] == 0
    assert figures["stored"]["events"] == 30 * 11
    assert figures["power_cut"]["values"] == 30 * 10
    assert figures["power_cut"]["not_drained"] == 0
    assert figures["idle"]["collector_rss_mb"] > 10


@pytest.mark.timeout(60)
def test_a_command_reaches_all() -> None:
    figures = fanout.measure(30, 2, lambda _: None)
    assert 0 < figures["raw_s"] < 1
    assert 0 < figures["command_first_s"] <= figures["command_s"] < 3
    assert figures["all_answers_stored_s"] > 0


@pytest.mark.timeout(60)
def test_six_devices_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    peer("telegraf")
    monkeypatch.setattr(agent_footprint, "SETTLING_SECONDS", 0.0)
    figures = agent_footprint.measure(2.0, lambda _: None)
    assert 20 < figures["agent"]["rss_mb"] < 100
    assert figures["telegraf"]["rss_mb"] > 10


@pytest.mark.timeout(60)
def test_traffic_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "QUICK_SECONDS", 5.0)
    figures = traffic.run(True, lambda _: None)
    assert figures["start_mqtt_bytes"] > 1000
    # Nothing need pass in five seconds of an idle site.
    assert figures["while_settling"]["ip_mb"] >= figures["while_settling"]["mqtt_mb"] >= 0
