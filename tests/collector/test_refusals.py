"""A flood of refusals is counted exactly and recorded at a bounded rate, whatever its course."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from village_collector.refusals import MAX_REFUSALS, WINDOW_SECONDS, RefusalLimit

pauses = st.one_of(st.just(0.0), st.floats(0, 1), st.floats(0, 200))
courses = st.lists(
    st.tuples(pauses, st.sampled_from(["", "li", "wang"]), st.sampled_from("abcdefghijkl")), max_size=400
)


@given(courses)
def test_every_refusal_is_recorded_or_counted_once(course: list[tuple[float, str, str]]) -> None:
    limit = RefusalLimit()
    now, recorded, counted = 0.0, 0, 0
    times: dict[str, list[float]] = {}
    for pause, actor, address in course:
        now += pause
        counted += sum(flood.count for flood in limit.ended(now))
        if limit.admit(actor, address, now):
            recorded += 1
            times.setdefault(actor, []).append(now)
    floods = limit.ended(now, all_of_them=True)
    counted += sum(flood.count for flood in floods)
    assert recorded + counted == len(course)
    assert limit.ended(now + 1000, all_of_them=True) == []
    for flood in floods:
        assert sum(flood.addresses.values()) <= flood.count
        assert flood.seconds >= 0
    # Never more than twice the limit in any minute, across the border of two windows.
    for moments in times.values():
        for first in moments:
            assert sum(first <= moment < first + WINDOW_SECONDS for moment in moments) <= 2 * MAX_REFUSALS


@given(st.integers(0, 500))
def test_the_first_ones_of_a_minute_are_recorded(count: int) -> None:
    limit = RefusalLimit()
    admitted = [limit.admit("", "10.0.0.7", number / 100) for number in range(count)]
    assert sum(admitted) == min(count, MAX_REFUSALS)
    assert limit.ended(WINDOW_SECONDS - 0.01) == []
    floods = limit.ended(WINDOW_SECONDS)
    assert [flood.count for flood in floods] == ([count - MAX_REFUSALS] if count > MAX_REFUSALS else [])


def test_a_flood_is_told_in_one_sentence_of_bounded_length() -> None:
    limit = RefusalLimit()
    for number in range(10_000):
        limit.admit("", f"2001:db8::{number % 1000:x}:ffff:ffff:ffff:ffff", number / 1000)
    (flood,) = limit.ended(60)
    assert str(flood).startswith("9940 further refusals within 10 s, counted only; from 2001:db8::3c:")
    assert str(flood).endswith("and others (9860)")
    assert len(str(flood)) <= 400


def test_one_person_does_not_use_up_the_limit_of_others() -> None:
    limit = RefusalLimit()
    assert sum(limit.admit("li", "a", 0) for _ in range(100)) == MAX_REFUSALS
    assert limit.admit("wang", "a", 0)
    assert limit.admit("", "a", 0)
