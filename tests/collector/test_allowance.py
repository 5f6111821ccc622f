"""What one agent may make the collector keep: pure buckets, and the doors at which they stand."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector import allowance
from village_collector.allowance import MAX_NAMES, Allowance, Variety
from village_collector.mailbox import Mailbox
from village_wire.session import Received

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, DAY, allow_nan=False)), max_size=60),
    st.integers(1, 200),
    st.integers(1, 500),
)
def test_no_more_than_the_burst_and_the_days(steps: list[tuple[int, float]], most: int, per_day: int) -> None:
    clock = Clock()
    bucket = Allowance("x", (most, per_day), clock)
    taken = 0
    for amount, pause in steps:
        clock.now += pause
        if bucket.take("a1", amount):
            taken += amount
        assert taken <= most + clock.now / DAY * per_day + 1e-6
    assert bucket.take("a2", most), "another agent has all of its own"


def test_what_is_over_is_told_once_and_waits(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    bucket = Allowance("readings", (100, 100), clock)
    assert bucket.take("a1", 100)
    for _ in range(5):
        assert not bucket.take("a1", 1)
    clock.now += DAY / 2
    assert bucket.take("a1", 50)
    assert not bucket.take("a1", 1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    clock.now += DAY
    assert bucket.take("a1", 10)
    assert bucket.take("a1", 90)
    assert not bucket.take("a1", 10)
    assert len(caplog.records) == 2


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "MAX_AGENTS", 10)
    bucket = Allowance("x", (10, 10), Clock())
    for number in range(1000):
        assert bucket.take(f"a{number}", 5)
        assert len(bucket._left) <= 10


def _message(agent: str, size: int, number: int = 0) -> Received:
    return Received(f"village/1/agent/{agent}/event", b"x" * size, retained=False, correlation=b"%d" % number)


def test_one_flood_leaves_room_for_others(caplog: pytest.LogCaptureFixture) -> None:
    box = Mailbox("events", 160_000)
    for number in range(1000):
        box.put(_message("bad", 1000, number))
    for agent in range(10):
        box.put(_message(f"good-{agent}", 5000))
    found = []
    while (message := box.pop()) is not None:
        found.append(message.topic.split("/")[3])
    assert found.count("bad") < 10
    assert [agent for agent in found if agent != "bad"] == [f"good-{agent}" for agent in range(10)]
    assert len(caplog.records) == 1
    assert "village/1/agent/bad/event" in caplog.text
    box.put(_message("large", 100_000))
    assert box.pop() is not None, "what is larger than a share waits alone"
    assert box._by_topic == {}


def _lines(agent: str, *devices: int) -> bytes:
    return b"\n".join(b"sensor,agent=%s,device=d%d value=1.0 1" % (agent.encode(), device) for device in devices)


def test_an_agent_names_so_many_devices_in_a_day_and_others_are_not_concerned(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    variety = Variety(lambda: now)
    assert all(variety.takes("a1", _lines("a1", *range(start, start + 100))) for start in range(0, MAX_NAMES, 100))
    assert not variety.takes("a1", _lines("a1", 0, MAX_NAMES))
    assert not variety.takes("a1", _lines("a1", MAX_NAMES + 1))
    assert variety.takes("a1", _lines("a1", 0, 1, MAX_NAMES - 1))
    assert variety.takes("a2", _lines("a2", MAX_NAMES))
    assert caplog.text.count("a1 sends readings of over") == 1
    now = 86_401.0
    assert variety.takes("a1", _lines("a1", MAX_NAMES + 1))
