"""No way of guessing gets more tries than stated, and nobody is kept out by what others do elsewhere."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from village_collector.people.throttle import (
    ATTACK,
    FORGET_SECONDS,
    FREE_TRIES,
    FREE_TRIES_OF_ADDRESS,
    FREE_TRIES_UNDER_ATTACK,
    LONGEST_WAIT,
    Throttle,
    place_of,
)

PERSONS = ("chief", "li", "wang")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")

tries = st.lists(
    st.tuples(st.floats(0, 600), st.sampled_from(PERSONS), st.sampled_from(ADDRESSES), st.booleans()), max_size=120
)


@given(tries)
def test_who_waits_as_long_as_told_may_try_and_no_wait_is_longer_than_the_longest(
    done: list[tuple[float, str, str, bool]],
) -> None:
    throttle, now = Throttle(), 0.0
    for pause, person, address, right in done:
        now += pause
        wait = throttle.attempt(person, address, now)
        if wait is None:
            if right:
                throttle.succeeded(person, address)
            continue
        assert 0 < wait.seconds <= LONGEST_WAIT
        # The other count may still say no, but never for longer than the longest wait.
        later = throttle.attempt(person, address, now + wait.seconds + 0.001)
        assert later is None or throttle.attempt(person, address, now + LONGEST_WAIT + 0.001) is None
        now += LONGEST_WAIT


@given(tries, st.sampled_from(PERSONS))
def test_the_first_try_of_an_address_is_never_refused_for_what_others_did(
    done: list[tuple[float, str, str, bool]], person: str
) -> None:
    throttle, now = Throttle(), 0.0
    for pause, guessed, address, _ in done:
        now += pause / 100
        throttle.attempt(guessed, address, now)
    assert throttle.attempt(person, "192.0.2.7", now) is None


@given(tries, st.booleans())
def test_the_number_of_guesses_is_bounded(done: list[tuple[float, str, str, bool]], patient: bool) -> None:
    throttle, now = Throttle(), 0.0
    let: defaultdict[tuple[str, str], int] = defaultdict(int)
    for pause, person, address, _ in done:
        now += LONGEST_WAIT if patient else pause / 60
        if throttle.attempt(person, address, now) is None:
            let[person, address] += 1
    for count in let.values():
        # Beyond the free ones each takes at least the first wait; the waits double to the longest.
        assert count <= FREE_TRIES + 6 + now / LONGEST_WAIT


def test_many_tries_at_once_are_no_way_round() -> None:
    throttle = Throttle()
    assert [throttle.attempt("chief", "10.0.0.1", 0.0) is None for _ in range(50)] == [True] * FREE_TRIES + [False] * 45
    throttle.succeeded("chief", "10.0.0.1")
    assert throttle.attempt("chief", "10.0.0.1", 0.0) is None


def test_the_waits_double() -> None:
    throttle, now, waits = Throttle(), 0.0, []
    for _ in range(FREE_TRIES):
        throttle.attempt("chief", "10.0.0.1", now)
    for _ in range(7):
        wait = throttle.attempt("chief", "10.0.0.1", now)
        assert wait is not None
        assert wait.reason == "person"
        waits.append(wait.seconds)
        now += wait.seconds
        assert throttle.attempt("chief", "10.0.0.1", now) is None
    assert waits == [30, 60, 120, 240, 480, 900, 900]
    assert throttle.attempt("chief", "10.0.0.1", now + FORGET_SECONDS) is None


def test_an_address_that_tries_many_names_waits() -> None:
    throttle = Throttle()
    for number in range(FREE_TRIES_OF_ADDRESS):
        assert throttle.attempt(f"person-{number}", "10.0.0.1", 0.0) is None
    wait = throttle.attempt("another", "10.0.0.1", 1.0)
    assert wait is not None
    assert (wait.reason, wait.seconds) == ("address", 29.0)
    assert throttle.attempt("another", "10.0.0.2", 1.0) is None


def test_a_person_guessed_at_from_many_addresses_leaves_each_fewer_tries() -> None:
    throttle = Throttle()
    for number in range(ATTACK):
        assert throttle.attempt("chief", f"10.0.1.{number}", 0.0) is None
    let = sum(throttle.attempt("chief", "10.0.2.1", 0.0) is None for _ in range(20))
    assert let == FREE_TRIES_UNDER_ATTACK
    assert throttle.attempt("li", "10.0.2.1", 0.0) is None


def test_its_memory_is_bounded() -> None:
    throttle = Throttle(limit=100)
    for number in range(10_000):
        throttle.attempt(f"person-{number}", f"10.{number >> 8}.{number & 255}.1", float(number))
        assert len(throttle) <= 100


def test_a_network_of_one_customer_is_one_address() -> None:
    assert place_of("2001:db8:1:2::1") == place_of("2001:db8:1:2:ffff::9") != place_of("2001:db8:1:3::1")
    assert place_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert place_of("fe80::1%eth0") == "fe80::/64"
    assert place_of("") == place_of("") == "?"


def test_an_attacker_with_an_account_wins_no_tries_by_logging_in() -> None:
    throttle = Throttle()
    for number in range(FREE_TRIES_OF_ADDRESS):
        assert throttle.attempt(f"person-{number}", "10.0.0.1", 0.0) is None
        throttle.attempt("attacker", "10.0.0.1", 0.0)
        throttle.succeeded("attacker", "10.0.0.1")
    wait = throttle.attempt("another", "10.0.0.1", 1.0)
    assert wait is not None
    assert wait.reason == "address"


def test_what_is_no_name_is_not_mixed_up_with_the_address() -> None:
    throttle = Throttle()
    assert throttle.attempt("", "10.0.0.1", 0.0) is None
    for number in range(FREE_TRIES):
        assert throttle.attempt(f"person-{number}", "10.0.0.1", 0.0) is None
    assert throttle.attempt("", "10.0.0.1", 0.0) is None
