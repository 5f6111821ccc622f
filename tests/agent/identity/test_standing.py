"""When a certificate is renewed, and when it is a matter for a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_agent.identity.standing import ENDING, renewal_due, standing

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, ("ok", "works")),
        (334.9, ("ok", "works")),
        (335, ("degraded", "certificate_ending")),
        (364.9, ("degraded", "certificate_ending")),
        (365, ("degraded", "certificate_ended")),
        (4000, ("degraded", "certificate_ended")),
    ],
)
def test_the_last_thirty_days_are_told(days: float, expected: tuple[str, str]) -> None:
    assert standing(ISSUED, ISSUED + YEAR, ISSUED + timedelta(days=days))[:2] == expected


def test_a_short_certificate_is_not_near_its_end_all_its_life() -> None:
    day = timedelta(days=1)
    assert standing(ISSUED, ISSUED + 8 * day, ISSUED + 5 * day)[0] == "ok"
    assert standing(ISSUED, ISSUED + 8 * day, ISSUED + 6 * day)[0] == "degraded"


lives = st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=7300))


@given(lives, st.floats(0, 1))
def test_a_renewal_begins_after_half_of_the_life_and_long_before_it_is_a_matter_for_a_person(
    life: timedelta, chance: float
) -> None:
    expires = ISSUED + life
    due = renewal_due(ISSUED, expires, chance)
    assert ISSUED + life / 2 <= due <= ISSUED + life * 0.55 + timedelta(seconds=1)
    assert standing(ISSUED, expires, due)[0] == "ok"


@given(lives, st.floats(0, 2))
def test_what_is_told_gets_worse_and_never_better(life: timedelta, part: float) -> None:
    rank = {"works": 0, "certificate_ending": 1, "certificate_ended": 2}
    expires = ISSUED + life
    now = ISSUED + life * part
    before, after = (standing(ISSUED, expires, moment)[1] for moment in (now, now + life / 100))
    assert rank[before] <= rank[after]
    if now < expires - ENDING:
        assert standing(ISSUED, expires, now)[1] in {"works", "certificate_ending"}
