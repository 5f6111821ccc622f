"""What a box without a clock knows of the time, whatever its system clock and the collector's answers do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_agent.clock.clock import (
    DRIFT_PARTS,
    EARLIEST_NS,
    MAX_ROUND_TRIP_NS,
    MAX_SLEW_NS,
    PROVISIONAL_END_NS,
    SECOND_NS,
    Clock,
    Estimate,
    RejectedAnswer,
    from_ns,
    is_provisional,
    to_ns,
)
from village_agent.clock.dating import date_event, date_line, is_undated_event, is_undated_line
from village_wire.events import Alarm, Event, Loss, StateChanged
from village_wire.ids import uuid7
from village_wire.time_answer import TimeAnswer

TRUE = to_ns(datetime(2026, 11, 24, 10, tzinfo=UTC))
NONCE, OTHER = "5e" * 16, "0f" * 16
SECONDS = st.integers(0, 10**9)


def answer(time_ns: int, nonce: str = NONCE) -> TimeAnswer:
    return TimeAnswer(agent="box", nonce=nonce, time=from_ns(time_ns))


def told(clock: Clock, boot_ns: int, offset_ns: int, round_trip: int = 0) -> Estimate:
    """Exchange that takes `round_trip` and meets the collector half way."""
    clock.ask(NONCE, boot_ns - round_trip)
    return clock.answer(answer(boot_ns - round_trip // 2 + offset_ns), boot_ns)


def test_nothing_is_known_at_first_and_the_time_counts_from_the_boot() -> None:
    clock = Clock()
    assert not clock.known
    assert clock.now_ns(5 * SECOND_NS) == 5 * SECOND_NS
    assert is_provisional(from_ns(clock.now_ns(5 * SECOND_NS)))
    assert clock.error_ns(0) is None


@given(
    boot=st.integers(MAX_ROUND_TRIP_NS, 10**17),
    out=st.integers(0, MAX_ROUND_TRIP_NS // 2),
    back=st.integers(0, MAX_ROUND_TRIP_NS // 2),
    later=st.integers(0, 10**15),
)
def test_an_answer_is_true_within_half_the_round_trip_however_lopsided(
    boot: int, out: int, back: int, later: int
) -> None:
    clock = Clock()
    offset = TRUE - boot
    clock.ask(NONCE, boot - out - back)
    clock.answer(answer(boot - back + offset), boot)
    moment = boot + later
    error = clock.error_ns(moment)
    assert error is not None
    assert abs(clock.now_ns(moment) - (moment + offset)) <= error


@pytest.mark.parametrize(
    ("nonce", "seconds", "time_ns", "reason"),
    [
        (OTHER, 1, TRUE, "not for the last request"),
        (NONCE, 11, TRUE, "under way for 11.0 s"),
        (NONCE, 1, EARLIEST_NS - 1000, "no clock itself: 2023-12-31"),
    ],
)
def test_an_answer_that_says_nothing_is_rejected(nonce: str, seconds: int, time_ns: int, reason: str) -> None:
    clock = Clock()
    clock.ask(NONCE, SECOND_NS)
    with pytest.raises(RejectedAnswer, match=reason):
        clock.answer(answer(time_ns, nonce), (1 + seconds) * SECOND_NS)
    assert not clock.known


def test_an_answer_counts_once_and_only_for_the_last_request() -> None:
    clock = Clock()
    with pytest.raises(RejectedAnswer):
        clock.answer(answer(TRUE), 0)
    clock.ask(NONCE, 0)
    clock.ask(OTHER, 0)
    with pytest.raises(RejectedAnswer):
        clock.answer(answer(TRUE), 0)
    clock.answer(answer(TRUE, OTHER), 0)
    with pytest.raises(RejectedAnswer):
        clock.answer(answer(TRUE + 10**15, OTHER), SECOND_NS)
    assert clock.now_ns(0) == TRUE


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("collector"), st.integers(0, 10**13), st.integers(-(10**9), 10**9), st.integers(0, 10**10)
            ),
            st.tuples(st.just("system"), st.integers(0, 10**13), st.integers(-(10**17), 10**17), st.just(0)),
            st.tuples(st.just("forged"), st.integers(0, 10**13), st.integers(-(10**17), 10**17), st.just(0)),
        ),
        max_size=20,
    )
)
def test_whatever_the_system_clock_does_once_the_collector_spoke_time_goes_on_evenly(
    steps: list[tuple[str, int, int, int]],
) -> None:
    clock = Clock()
    boot = MAX_ROUND_TRIP_NS
    told(clock, boot, TRUE)
    first, last = clock.first_offset_ns, clock.now_ns(boot)
    for kind, wait, change, round_trip in steps:
        boot += wait + round_trip
        if kind == "collector":
            # Within the drift of the crystal and what a round trip hides.
            told(clock, boot, TRUE + min(abs(change), wait // DRIFT_PARTS) * (1 if change > 0 else -1), round_trip)
        elif kind == "system":
            assert not clock.system(TRUE + boot + change, boot)
        else:
            with pytest.raises(RejectedAnswer):
                clock.answer(answer(max(EARLIEST_NS, TRUE + change), OTHER), boot)
        now = clock.now_ns(boot)
        assert now >= last
        last = now
    assert clock.first_offset_ns == first


def test_a_correction_is_spread_and_a_large_one_is_not() -> None:
    clock = Clock()
    boot = 100 * SECOND_NS
    told(clock, boot, TRUE, MAX_ROUND_TRIP_NS)
    told(clock, boot, TRUE - 2 * SECOND_NS)
    assert clock.now_ns(boot) == boot + TRUE
    assert clock.now_ns(boot + 10 * SECOND_NS) == boot + TRUE + 9 * SECOND_NS
    assert clock.now_ns(boot + 40 * SECOND_NS) == boot + TRUE + 38 * SECOND_NS
    year = 365 * 86400 * SECOND_NS
    boot += 40 * SECOND_NS
    told(clock, boot, TRUE + year)
    assert clock.now_ns(boot) == boot + TRUE + year
    assert year > MAX_SLEW_NS


def test_a_worse_answer_that_contradicts_nothing_changes_nothing() -> None:
    clock = Clock()
    told(clock, SECOND_NS, TRUE)
    told(clock, 20 * SECOND_NS, TRUE + SECOND_NS, 8 * SECOND_NS)
    assert clock.now_ns(20 * SECOND_NS) == TRUE + 20 * SECOND_NS


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(-1000, 1000), st.integers(0, 10**9), st.integers(0, 10**9)),
        min_size=1,
        max_size=20,
    )
)
def test_answers_narrow_the_time_from_both_sides_and_never_past_the_truth(
    exchanges: list[tuple[int, int, int, int]],
) -> None:
    clock = Clock()
    boot, offset, best = MAX_ROUND_TRIP_NS, TRUE, 10**12
    for wait, drift, out, back in exchanges:
        boot += wait
        # In thousandths of the most that a crystal drifts.
        offset += (wait + out + back) // DRIFT_PARTS * drift // 1000
        clock.ask(NONCE, boot)
        boot += out + back
        found = clock.answer(answer(boot - back + offset), boot)
        assert clock.estimate is not None
        assert abs(clock.estimate.offset_ns - offset) <= clock.estimate.error_ns + (out + back) // DRIFT_PARTS
        best = min(found.error_ns, best + (wait + out + back) // DRIFT_PARTS + 1) + 1
        assert clock.estimate.error_ns <= best


def test_the_quickest_way_out_and_the_quickest_way_back_may_be_of_different_answers() -> None:
    clock = Clock()
    for boot, out, back in ((1, 10**6, 8 * 10**7), (2, 8 * 10**7, 10**6)):
        clock.ask(NONCE, boot * SECOND_NS)
        clock.answer(answer(boot * SECOND_NS + out + TRUE), boot * SECOND_NS + out + back)
    assert clock.estimate is not None
    assert abs(clock.estimate.offset_ns - TRUE) < 200_000
    # A millisecond each way, and a second's drift.
    assert clock.estimate.error_ns < 1_300_000


def test_a_synchronised_system_is_believed_until_it_jumps_and_never_against_the_collector() -> None:
    clock = Clock()
    assert not clock.system(EARLIEST_NS - 1, 0)
    assert clock.system(TRUE, 0)
    assert clock.estimate is not None
    assert clock.estimate.source == "system"
    assert not clock.system(TRUE + 10**16, SECOND_NS)
    assert not clock.system(TRUE - 10**15, SECOND_NS)
    assert clock.system(TRUE + SECOND_NS + 1000, SECOND_NS)
    told(clock, 2 * SECOND_NS, TRUE - 10**16)
    assert clock.now_ns(2 * SECOND_NS) == TRUE - 10**16 + 2 * SECOND_NS
    assert not clock.system(TRUE, 2 * SECOND_NS)


def test_what_was_known_earlier_in_the_boot_is_taken_over_unless_something_is_known_already() -> None:
    clock = Clock()
    clock.restore(TRUE + 5, Estimate(TRUE, 1000, 0, "collector"))
    assert clock.first_offset_ns == TRUE + 5
    assert clock.now_ns(SECOND_NS) == TRUE + SECOND_NS
    clock.restore(0, Estimate(0, 0, 0, "system"))
    assert clock.now_ns(SECOND_NS) == TRUE + SECOND_NS


@given(st.integers(0, PROVISIONAL_END_NS - 1), st.integers(EARLIEST_NS, 2**62 - PROVISIONAL_END_NS))
def test_a_line_is_dated_once(boot: int, offset: int) -> None:
    line = b"host,agent=box,device=machine cpu_percent=1.0 %d" % boot
    assert is_undated_line(line)
    dated = date_line(line, offset)
    assert dated == b"host,agent=box,device=machine cpu_percent=1.0 %d" % (boot + offset)
    assert not is_undated_line(dated)
    assert date_line(dated, offset) == dated


@given(st.integers(0, PROVISIONAL_END_NS - 1000), st.integers(EARLIEST_NS, 2**62 - PROVISIONAL_END_NS))
def test_an_event_gets_its_date_and_always_the_same_id(boot: int, offset: int) -> None:
    moment = from_ns(boot)
    data = StateChanged(status="ok", code="works", evidence="", since=moment, session="5e" * 16)
    event = Event(id=uuid7(to_ns(moment) // 10**6), time=moment, device="gate", data=data)
    assert is_undated_event(event)
    dated = date_event(event, offset)
    assert dated.time == moment + timedelta(microseconds=offset // 1000)
    assert isinstance(dated.data, StateChanged)
    assert dated.data.since == dated.time
    assert dated == date_event(event, offset)
    assert not is_undated_event(dated)
    assert dated.id.version == 7
    assert dated.id.int >> 80 == to_ns(dated.time) // 10**6
    assert dated.id.int & 2**62 - 1 == event.id.int & 2**62 - 1


def test_only_what_counts_from_the_boot_is_dated() -> None:
    """A state that began before the time was known, told after it."""
    now = datetime(2026, 11, 24, 10, tzinfo=UTC)
    data = StateChanged(status="down", code="no_answer", evidence="", since=from_ns(SECOND_NS), session="5e" * 16)
    event = Event(id=UUID(int=7 << 76), time=now, device="gate", data=data)
    assert is_undated_event(event)
    dated = date_event(event, TRUE)
    assert (dated.id, dated.time) == (event.id, now)
    assert isinstance(dated.data, StateChanged)
    assert dated.data.since == from_ns(TRUE + SECOND_NS)
    loss = Loss(item_class="telemetry", reason="x", count=1, first=now, last=now)
    assert not is_undated_event(event.model_copy(update={"data": loss}))
    assert not is_undated_event(event.model_copy(update={"data": Alarm(code="tamper", active=True)}))
