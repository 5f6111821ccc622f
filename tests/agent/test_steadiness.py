"""When a condition is told: by the rules one by one, and against a model that looks at the whole past each time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from village_agent.states import StateTable
from village_agent.steadiness import (
    BURST,
    CERTAIN,
    FALLS,
    REFILL_SECONDS,
    UNSTABLE,
    WINDOW_SECONDS,
    Holds,
    State,
    Steadiness,
)
from village_wire.states import ADVICE, Status

T0 = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOLDS = Holds()
RANK: dict[Status, int] = {"ok": 0, "unknown": 1, "degraded": 2, "down": 3}


class Seen(NamedTuple):
    """What a driver says for one second."""

    status: Status
    code: str


OK = Seen("ok", "works")
GONE = Seen("down", "no_answer")
NOISE = Seen("degraded", "noise")
TAMPER = Seen("degraded", "tamper")


def at(second: float) -> datetime:
    return T0 + timedelta(seconds=second)


def play(*spans: tuple[Seen, int]) -> list[tuple[int, State]]:
    """What is told, with the second, when each span lasts for its seconds and the driver speaks once in each."""
    device, told, second = Steadiness(HOLDS), [], 0
    for seen, seconds in spans:
        for _ in range(seconds):
            device.observe(*seen, evidence=f"at {second}", now=second, time=at(second))
            state = device.settle(second)
            if state is not None:
                told.append((second, state))
            second += 1
    return told


def keys(told: list[tuple[int, State]]) -> list[tuple[int, str, str]]:
    return [(second, state.status, state.code) for second, state in told]


def test_every_certain_reason_and_unstable_have_advice() -> None:
    assert {*CERTAIN, UNSTABLE} <= ADVICE.keys()


def test_the_first_condition_is_told_at_once() -> None:
    assert keys(play((GONE, 3))) == [(0, "down", "no_answer")]
    starting = Seen("unknown", "starting")
    assert keys(play((starting, 1), (GONE, 1))) == [(0, "unknown", "starting"), (1, "down", "no_answer")]


def test_a_short_fault_is_never_told() -> None:
    assert keys(play((OK, 5), (GONE, 9), (OK, 100), (GONE, 9), (OK, 9))) == [(0, "ok", "works")]


def test_a_fault_that_lasts_is_told_with_its_beginning() -> None:
    told = play((OK, 5), (GONE, 20), (OK, 10))
    assert keys(told) == [(0, "ok", "works"), (15, "down", "no_answer"), (30, "ok", "works")]
    assert [state.since for _, state in told] == [at(0), at(5), at(25)]
    assert told[1][1].evidence == "at 15"


def test_what_is_certain_is_told_at_once_and_its_end_must_last() -> None:
    assert keys(play((OK, 5), (TAMPER, 1), (OK, 4), (TAMPER, 1), (OK, 9))) == [
        (0, "ok", "works"),
        (5, "degraded", "tamper"),
        (16, "ok", "works"),
    ]


def test_a_device_that_is_never_well_has_lasted_whatever_its_reasons() -> None:
    told = play((OK, 5), *((GONE, 1), (Seen("down", "noise"), 1)) * 10)
    assert keys(told)[1:] == [(15, "down", "no_answer")]
    assert told[1][1].since == at(5)
    told = play((OK, 5), *((GONE, 4), (NOISE, 4)) * 3)
    assert keys(told)[1:] == [(17, "degraded", "noise")]


def test_a_device_that_comes_and_goes_is_unstable_until_it_is_well_for_a_minute() -> None:
    told = play((OK, 5), *((GONE, 3), (OK, 7)) * 3, (OK, 120))
    assert keys(told) == [(0, "ok", "works"), (25, "degraded", "unstable"), (88, "ok", "works")]
    assert told[1][1].evidence == "stopped working 3 times in 60 s, now down: at 25"
    assert told[1][1].since == at(5)


def test_a_device_that_fell_often_is_not_called_well_when_it_returns() -> None:
    told = play((OK, 5), (GONE, 2), (OK, 2), (GONE, 2), (OK, 2), (GONE, 20), (OK, 20))
    assert keys(told) == [
        (0, "ok", "works"),
        (13, "degraded", "unstable"),
        (23, "down", "no_answer"),
        (38, "degraded", "unstable"),
    ]


def test_the_newest_evidence_is_kept_without_being_told() -> None:
    table = StateTable(HOLDS)
    assert table.set("a", "ok", "works", "first", 0, T0) is not None
    assert table.set("a", "ok", "works", "second", 1, at(1)) is None
    state = table.get("a")
    assert state is not None
    assert (state.evidence, state.since) == ("second", T0)


def test_the_table_tells_what_has_lasted_and_forgets_what_is_gone() -> None:
    table = StateTable(HOLDS)
    for name in ("a", "b"):
        table.set(name, "ok", "works", "", 0, T0)
        assert table.set(name, "down", "no_answer", "x", 1, at(1)) is None
    assert table.settle(10) == []
    assert [(change.device, change.before and change.before.status, change.state.status) for change in table.settle(11)] == [
        ("a", "ok", "down"),
        ("b", "ok", "down"),
    ]  # fmt: skip
    table.keep_only(["b"])
    assert [name for name, _ in table] == ["b"]
    assert table.get("a") is None


class Model:
    """The rules over the whole past, second by second, without any of the state that `Steadiness` keeps."""

    def __init__(self) -> None:
        self.past: list[Seen] = []
        self.told: list[Seen] = []
        self.tokens = float(BURST)

    def _lasted(self, seconds: float, holds: list[bool]) -> bool:
        span = int(seconds) + 1
        return len(holds) >= span and all(holds[-span:])

    def step(self, seen: Seen) -> Seen | None:
        self.past.append(seen)
        self.tokens = min(BURST, self.tokens + 1 / REFILL_SECONDS)
        wanted = self._wanted(seen)
        if wanted is None or (self.told and wanted == self.told[-1]) or self.tokens < 1 - 1e-9:
            return None
        self.tokens -= 1
        self.told.append(wanted)
        return wanted

    def _wanted(self, seen: Seen) -> Seen | None:
        told = self.told[-1] if self.told else None
        if told is None or seen.code in CERTAIN or (told.status == "unknown" and seen.status != "unknown"):
            return seen
        pairs = list(zip(self.past, self.past[1:], strict=False))[-int(WINDOW_SECONDS) :]
        often = sum(a.status == "ok" and b.status != "ok" for a, b in pairs) >= FALLS
        rank, old = RANK[seen.status], RANK[told.status]
        unstable = Seen("degraded", UNSTABLE)
        if often and old < 2:
            return unstable
        if told == unstable and seen.status == "ok":
            quiet = self._lasted(WINDOW_SECONDS, [RANK[p.status] == 0 for p in self.past])
            return seen if quiet else None
        if rank > old:
            due = self._lasted(HOLDS.worse, [RANK[p.status] >= rank for p in self.past])
        elif rank < old:
            due = self._lasted(HOLDS.better, [RANK[p.status] <= rank for p in self.past])
        else:
            due = self._lasted(HOLDS.better, [p == seen for p in self.past])
        if not due:
            return None
        return unstable if often and rank < 2 else seen


SEEN = st.sampled_from([OK, GONE, NOISE, TAMPER, Seen("down", "noise"), Seen("unknown", "starting")])
SPANS = st.lists(st.tuples(SEEN, st.sampled_from([1, 1, 2, 3, 5, 6, 10, 11, 30, 61])), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(SPANS)
def test_it_tells_what_the_model_tells(spans: list[tuple[Seen, int]]) -> None:
    model, expected, second = Model(), [], 0
    for seen, seconds in spans:
        for _ in range(seconds):
            told = model.step(seen)
            if told is not None:
                expected.append((second, *told))
            second += 1
    assert keys(play(*spans)) == expected


@settings(max_examples=100, deadline=None)
@given(SPANS, SEEN)
def test_it_neither_floods_nor_hides_what_lasts(spans: list[tuple[Seen, int]], last: Seen) -> None:
    rest = int(REFILL_SECONDS + WINDOW_SECONDS) + 2
    told = keys(play(*spans, (last, rest)))
    for first, (begin, _, _) in enumerate(told):
        for number, (end, _, _) in enumerate(told[first:], 1):
            assert number <= BURST + (end - begin) / REFILL_SECONDS + 1
    assert told[-1][1:] == last
