"""The pace of sending, with times as numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from village_agent.outbox.rate import Rate
from village_agent.pace import Pace, TokenBucket


@given(sizes=st.lists(st.tuples(st.integers(1, 70_000), st.floats(0, 5)), min_size=1, max_size=60))
def test_a_bucket_lets_pass_no_more_than_its_rate(sizes: list[tuple[int, float]]) -> None:
    bucket = TokenBucket(10_000)
    now = sent = 0.0
    for size, idle in sizes:
        now += idle
        now += bucket.wait(now)
        assert bucket.wait(now) < 1e-6
        # One second's worth saved up, and the one message that may exceed it.
        assert sent <= 10_000 * (now + 1) + 70_000
        bucket.take(size, now)
        sent += size


def test_a_bucket_that_is_held_passes_nothing_before_its_time() -> None:
    bucket = TokenBucket(1000)
    bucket.hold(5)
    assert bucket.wait(0) == 5
    assert bucket.wait(5) == 0
    bucket.take(3000, 5)
    assert bucket.wait(5) == 2
    assert bucket.wait(6) == 1
    assert bucket.wait(7) == 0


def test_readings_are_gathered_ever_longer() -> None:
    pace = Pace(send_seconds=60)
    assert [pace.gathering(seconds) for seconds in (0, 1, 59, 100_000)] == [1, 2, 60, 60]


def test_the_longer_the_outage_the_wider_the_spread() -> None:
    pace = Pace(drain_spread_seconds=30)
    assert [pace.first_pause(age, 0.5) for age in (-5, 0, 10, 300, 1e6)] == [0, 0, 0.5, 15, 15]


def test_a_rate_is_that_of_the_last_half_hour_to_hour() -> None:
    rate = Rate(0)
    assert rate.per_second(0) == 0
    rate.add(600, 0)
    assert rate.per_second(1) == 10
    for second in range(1, 7200):
        rate.add(2, second)
    assert 1.9 < rate.per_second(7200) <= 2
    for second in range(7200, 10_800):
        rate.add(1, second)
    assert 0.9 < rate.per_second(10_800) <= 1.1
    assert rate.per_second(100_000) == 0
