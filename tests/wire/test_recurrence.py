"""Expansion against the library's own slow iteration, and cases that people check with a calendar on the wall."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from village_wire.recurrence import MAX_WINDOW, InvalidRecurrence, Recurrence, Season

WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")
starts = st.datetimes(datetime(2020, 1, 1), datetime(2028, 12, 31)).map(lambda time: time.replace(microsecond=0))


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(("DAILY", "WEEKLY", "MONTHLY", "YEARLY")))
    parts = [f"FREQ={frequency}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 5))}")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(WEEKDAYS))}")
    days = draw(st.lists(st.sampled_from(WEEKDAYS), max_size=3, unique=True))
    if days:
        nth = draw(st.sampled_from(("", "1", "2", "-1"))) if frequency in {"MONTHLY", "YEARLY"} else ""
        parts.append("BYDAY=" + ",".join(nth + day for day in days))
    if frequency != "WEEKLY" and not days and draw(st.booleans()):
        numbers = [28, *draw(st.lists(st.sampled_from((1, 13, 29, 30, 31, -1)), min_size=1, max_size=3, unique=True))]
        parts.append("BYMONTHDAY=" + ",".join(map(str, numbers)))
    if draw(st.booleans()):
        months = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True))
        parts.append("BYMONTH=" + ",".join(map(str, months)))
    if draw(st.booleans()):
        hours = draw(st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True))
        parts.append("BYHOUR=" + ",".join(map(str, hours)))
    if len(parts) > 2 and not days and draw(st.booleans()) and "BY" in "".join(parts):
        parts.append(f"BYSETPOS={draw(st.sampled_from((1, -1)))}")
    if draw(st.booleans()):
        parts.append(f"COUNT={draw(st.integers(1, 60))}")
    return ";".join(parts)


def slowly(rule: str, start: datetime, zone: str, first: datetime, last: datetime) -> list[datetime]:
    """From the first time on, as the library gives them, each looked up in the zone."""
    end = last.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(days=2)
    local = takewhile(
        lambda time: time <= end,
        rrulestr(f"{rule};UNTIL=20400101T000000", dtstart=start)
        if "COUNT" not in rule
        else rrulestr(rule, dtstart=start),
    )
    found = {time.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for time in local}
    return sorted(time for time in found if first <= time < last)


def first_of(rule: str, start: datetime) -> datetime:
    """Return when a rule is due first; every second month from February on is never January."""
    found = next(iter(rrulestr(rule, dtstart=start)), None)
    assume(found is not None)
    assert found is not None
    return found


@settings(max_examples=300, deadline=None)
@given(rules(), starts, st.sampled_from(ZONES), st.integers(-50, 4000), st.integers(0, 400))
def test_what_is_jumped_over_changes_nothing(rule: str, start: datetime, zone: str, ahead: int, days: int) -> None:
    start = first_of(rule, start)
    made = Recurrence(start=start, zone=zone, rule=rule)
    first = start.replace(tzinfo=UTC) + timedelta(days=ahead)
    last = first + timedelta(days=days)
    assert made.between(first, last) == slowly(rule, start, zone, first, last)


@settings(max_examples=60, deadline=None)
@given(rules(), starts, st.integers(0, 700), st.integers(1, 399))
def test_two_windows_are_the_whole(rule: str, start: datetime, ahead: int, cut: int) -> None:
    start = first_of(rule, start)
    made = Recurrence(start=start, rule=rule)
    first = start.replace(tzinfo=UTC) + timedelta(days=ahead)
    middle, last = first + timedelta(days=cut), first + MAX_WINDOW
    assert made.between(first, middle) + made.between(middle, last) == made.between(first, last)


def shown(made: Recurrence, first: str, last: str) -> list[str]:
    zone = ZoneInfo(made.zone)
    begin, end = (datetime.fromisoformat(day).replace(tzinfo=zone) for day in (first, last))
    return [f"{time.astimezone(zone):%Y-%m-%d %H:%M}" for time in made.between(begin, end)]


@pytest.mark.parametrize(
    ("start", "rule", "window", "expected"),
    [
        ("2026-11-24T06:30:00", "", ("2026-11-24", "2026-11-25"), ["2026-11-24 06:30"]),
        (
            "2026-11-27T17:00:00",
            "FREQ=MONTHLY;BYDAY=-1FR",
            ("2026-11-01", "2027-03-01"),
            ["2026-11-27 17:00", "2026-12-25 17:00", "2027-01-29 17:00", "2027-02-26 17:00"],
        ),
        ("2024-02-29T08:00:00", "FREQ=YEARLY", ("2027-02-01", "2028-03-05"), ["2028-02-29 08:00"]),
        ("2024-02-29T08:00:00", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", ("2027-02-01", "2027-03-05"), ["2027-02-28 08:00"]),
        (
            "2026-12-30T23:59:00",
            "FREQ=DAILY;INTERVAL=2",
            ("2026-12-29", "2027-01-05"),
            ["2026-12-30 23:59", "2027-01-01 23:59", "2027-01-03 23:59"],
        ),
        ("2026-11-30T06:00:00", "FREQ=WEEKLY;UNTIL=20261213T220000Z", ("2026-11-01", "2027-03-01"), ["2026-11-30 06:00", "2026-12-07 06:00", "2026-12-14 06:00"]),
        ("2026-11-30T06:00:00", "FREQ=WEEKLY;UNTIL=20261207", ("2026-11-01", "2027-03-01"), ["2026-11-30 06:00", "2026-12-07 06:00"]),
        ("2026-01-31T06:00:00", "FREQ=MONTHLY", ("2026-02-01", "2026-06-01"), ["2026-03-31 06:00", "2026-05-31 06:00"]),
    ],
)  # fmt: skip
def test_cases_from_the_wall(start: str, rule: str, window: tuple[str, str], expected: list[str]) -> None:
    assert shown(Recurrence(start=datetime.fromisoformat(start), rule=rule), *window) == expected


def test_a_skipped_hour_is_an_hour_later_and_a_doubled_one_comes_once() -> None:
    made = Recurrence(start=datetime(2027, 3, 26, 2, 30), zone="Europe/Berlin", rule="FREQ=DAILY")
    assert shown(made, "2027-03-27", "2027-03-30") == ["2027-03-27 02:30", "2027-03-28 03:30", "2027-03-29 02:30"]
    begin = datetime(2027, 10, 30, 12, tzinfo=UTC)
    assert made.between(begin, begin + timedelta(days=1)) == [datetime(2027, 10, 31, 0, 30, tzinfo=UTC)]


def test_seasons_holidays_and_left_out_days() -> None:
    start = datetime(2026, 1, 1, 7)
    season = (Season(first="12-30", last="01-02"),)
    daily = {"start": start, "rule": "FREQ=DAILY"}
    made = Recurrence.model_validate({**daily, "seasons": season, "left_out": [datetime(2026, 12, 31, 7)]})
    assert shown(made, "2026-12-28", "2027-01-05") == ["2026-12-30 07:00", "2027-01-01 07:00", "2027-01-02 07:00"]
    holidays = [date(2026, 10, 1), date(2026, 10, 3)]
    working = Recurrence.model_validate({**daily, "holidays": holidays})
    assert shown(working, "2026-09-30", "2026-10-05") == ["2026-09-30 07:00", "2026-10-02 07:00", "2026-10-04 07:00"]
    feast = Recurrence.model_validate({**daily, "holidays": holidays, "on_holidays": "only"})
    assert shown(feast, "2026-09-30", "2026-10-05") == ["2026-10-01 07:00", "2026-10-03 07:00"]


def test_ten_years_later_costs_no_more() -> None:
    made = Recurrence(start=datetime(2020, 1, 1, 7), rule="FREQ=WEEKLY;BYDAY=MO,WE;INTERVAL=2", zone="UTC")
    begin = datetime(2100, 1, 1, tzinfo=UTC)
    assert len(made.between(begin, begin + timedelta(days=28))) == 4


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=HOURLY", "FREQ=SECONDLY", "DAILY", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;COUNT=10001",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101", "FREQ=WEEKLY;BYDAY=1MO", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;BYEASTER=1",
        "FREQ=MONTHLY;BYMONTHDAY=0", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=DAILY;UNTIL=20270230", "FREQ=DAILY;BYSETPOS=1",
        "FREQ=DAILY;BYSECOND=1", "FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=0,1,2,3,4,5,6,7,8,9", "FREQ=DAILY;WKST=1", "FREQ=DAILY;INTERVAL=+-1",
        "FREQ=DAILY;INTERVAL=", ";", "FREQ=MONTHLY;BYDAY=TU,-1FR",
    ],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError):
        Recurrence(start=datetime(2026, 11, 24, 6), rule=rule)


@pytest.mark.parametrize("zone", ["../../etc/passwd", "", "/etc/passwd", "Asia/../x", "Asia\0"])
def test_a_zone_that_may_be_a_path_is_refused(zone: str) -> None:
    with pytest.raises(ValidationError, match="time zone"):
        Recurrence(start=datetime(2026, 11, 24, 6), zone=zone)


@pytest.mark.parametrize("zone", ["Asia/Nowhere", "Asia"])
def test_an_unknown_zone_is_told_when_it_is_needed(zone: str) -> None:
    made = Recurrence(start=datetime(2026, 11, 24, 6), zone=zone)
    with pytest.raises(InvalidRecurrence, match="time zone"):
        made.check_zone()
    with pytest.raises(InvalidRecurrence, match="time zone"):
        made.between(datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC))


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=WEEKLY;BYDAY=WE", "FREQ=DAILY;COUNT=5;BYHOUR=7", "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYDAY=5MO;BYMONTHDAY=1",
    ],
)  # fmt: skip
def test_a_start_that_the_rule_does_not_give_is_refused_at_once(rule: str) -> None:
    begun = time.process_time()
    with pytest.raises(ValidationError, match="not due at its start"):
        Recurrence(start=datetime(2026, 11, 24, 6), rule=rule)
    assert time.process_time() - begun < 1


def test_the_rarest_days_are_found_without_a_walk_through_all_years() -> None:
    made = Recurrence(start=datetime(2044, 2, 29, 6), rule="FREQ=DAILY;INTERVAL=7;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO")
    begun = time.process_time()
    assert shown(made, "2072-01-01", "2073-01-01") == ["2072-02-29 06:00"]
    assert shown(made, "2073-01-01", "2074-01-01") == []
    assert time.process_time() - begun < 2


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="FREQ=DAILYWKMONTHUB;,-+0123456789", max_size=60))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    for rule in (text, f"FREQ=DAILY;{text}"):
        try:
            made = Recurrence(start=datetime(2026, 11, 24, 6), rule=rule)
        except ValidationError:
            continue
        made.between(datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 3, tzinfo=UTC))
