"""What one agent may make the collector keep: pure buckets, and the doors at which they stand."""

from __future__ import annotations

import contextlib
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_collector import allowance
from village_collector.allowance import MAX_NAMES, Allowance, Variety
from village_collector.mailbox import Mailbox
from village_wire.incoming import Received
from village_wire.points import InvalidBatch, check_batch

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


#: Lines of agent `a`, and what only looks like them to one of the two ways.
_PIECES = st.sampled_from(
    [
        b"sensor,agent=a,device=",
        b"agent,agent=a,device=",
        b"lock,agent=a,device=",
        b"lock,agent=b,device=",
        b"x",
        b"y",
        b"agent",
        b",agent=a",
        b"agent=",
        b",device=z",
        b"\\",
        b"=",
        b" ",
        b" value=1 1",
        b"\n",
        b"\r",
        b"\0",
        b"",
    ]
)
_LINE = st.builds(
    bytes.__add__,
    st.builds(b"%s,agent=a,device=d%d".__mod__, st.tuples(st.sampled_from([b"sensor", b"lock"]), st.integers(0, 6))),
    st.sampled_from(
        [b" value=1 1"] * 4 + [b"", b" ", b",x=1 1", b" ,agent=a 1", b" agent=1 1", b"\n", b" ,device=9 1"]
    ),
)
_BATCH = st.lists(_LINE | st.lists(_PIECES, max_size=6).map(b"".join), min_size=1, max_size=5).map(b"\n".join)


@given(st.lists(_BATCH.map(lambda lines: lines.rstrip(b"\n")), max_size=20))
def test_lines_that_are_known_would_pass_both_checks(batches: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(allowance, "MAX_NAMES", 4)
        few.setattr(allowance, "MAX_HEADS", 5)
        quick, slow = Variety(), Variety()
        for lines in batches * 2:
            before = set(quick._known["a"].names) if "a" in quick._known else set()
            known = quick.knows("a", lines)
            with contextlib.suppress(InvalidBatch):
                # Raises for what is known, too, if that was wrong.
                check_batch(lines, "a")
                words = [line.split(b" ") for line in lines.split(b"\n")]
                names = {word[0].split(b",device=", 1)[1] for word in words if len(word) > 1}
                assert (known or quick.takes("a", lines)) == slow.takes("a", lines) == (len(before | names) <= 4)
                assert not known or names <= before
                assert quick._known["a"].names == slow._known["a"].names
                continue
            assert not known


def test_what_is_known_is_of_one_agent_and_one_day() -> None:
    now = 0.0
    variety = Variety(lambda: now)
    lines = _lines("a1", 1, 2)
    assert not variety.knows("a1", lines)
    assert variety.takes("a1", lines)
    assert variety.takes("a2", _lines("a2", 1))
    assert variety.knows("a1", lines)
    assert not variety.knows("a2", lines), "lines of another agent"
    assert not variety.knows("a1", _lines("a1", 1, 3))
    assert not variety.knows("a1", lines + b"\n")
    assert not variety.knows("a1", lines.replace(b"=1.0", b"=1.0,agent=a2"))
    now = 86_401.0
    assert not variety.knows("a1", lines)


def test_a_line_without_values_makes_no_name_known() -> None:
    variety = Variety()
    assert variety.takes("a1", b"sensor,agent=a1,device=d1")
    assert not variety.knows("a1", _lines("a1", 1))


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "MAX_HEADS", 15)
    variety = Variety()
    for kind in (b"sensor", b"lock", b"switch"):
        assert variety.takes("a1", _lines("a1", *range(10)).replace(b"sensor", kind))
    assert len(variety._known["a1"].heads) == 10
    assert variety.takes("a1", _lines("a1", 1).replace(b"sensor", b"lock"))
    assert len(variety._known["a1"].heads) == 11
