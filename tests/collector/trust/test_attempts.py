"""Limits on requests for certificates, whatever the order of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from village_collector.trust.attempts import MAX_ADDRESSES, MAX_REQUESTS, MAX_WRONG, WINDOW_SECONDS, Attempts


def test_an_address_that_errs_too_often_waits_out_the_minute_and_others_do_not() -> None:
    attempts = Attempts()
    for number in range(MAX_WRONG):
        assert attempts.wait("10.0.0.1", number) == 0.0
        attempts.wrong("10.0.0.1", number)
    assert attempts.wait("10.0.0.1", MAX_WRONG) == WINDOW_SECONDS - MAX_WRONG
    assert attempts.wait("10.0.0.2", MAX_WRONG) == 0.0
    assert attempts.wait("10.0.0.1", WINDOW_SECONDS) == 0.0


def test_who_does_it_right_is_not_held_up() -> None:
    attempts = Attempts()
    assert all(attempts.wait("10.0.0.1", number) == 0.0 for number in range(10 * MAX_REQUESTS))


def test_all_together_are_bounded() -> None:
    attempts = Attempts()
    admitted = sum(attempts.wait(f"10.0.{number // 250}.{number % 250}", 0.0) == 0.0 for number in range(1000))
    assert admitted == MAX_REQUESTS


def test_what_is_remembered_is_bounded() -> None:
    attempts = Attempts()
    for number in range(MAX_ADDRESSES + 10):
        attempts.wrong(str(number), 0.0)
    assert len(attempts._wrong) == MAX_ADDRESSES


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from("ab"), st.booleans()), max_size=600))
def test_no_minute_sees_more_than_the_limits(requests: list[tuple[float, str, bool]]) -> None:
    attempts = Attempts()
    now = 0.0
    admitted: list[tuple[float, str, bool]] = []
    for pause, address, good in requests:
        now += pause
        wait = attempts.wait(address, now)
        assert 0 <= wait <= WINDOW_SECONDS
        if wait == 0.0:
            admitted.append((now, address, good))
            if not good:
                attempts.wrong(address, now)
    for start, address, _ in admitted:
        within = [one for one in admitted if start <= one[0] < start + WINDOW_SECONDS]
        assert len(within) <= MAX_REQUESTS
        assert sum(not good for _, other, good in within if other == address) <= MAX_WRONG
