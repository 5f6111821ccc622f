"""Quiet hours across midnight and daylight saving, volumes, chimes, and the cutting of texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from village_agent.loudspeaker.policy import Profile, QuietHours
from village_agent.loudspeaker.sentences import sentences
from village_agent.loudspeaker.settings import LoudspeakersTable

#: Clocks that change at 2:00, at midnight, by half an hour, and never.
ZONES = ("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Asia/Shanghai")
#: As hypothesis takes the bounds: without a zone.
START, END = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (2020, 2030))
times = st.times().map(lambda found: found.replace(second=0, microsecond=0, tzinfo=None))


@given(times, times, st.datetimes(timezones=st.just(UTC), min_value=START, max_value=END), st.sampled_from(ZONES))
def test_quiet_hours_follow_the_clock_on_the_wall(begin: time, end: time, moment: datetime, zone: str) -> None:
    if begin == end:
        with pytest.raises(ValueError, match="same time"):
            QuietHours.parse(f"{begin:%H:%M}-{end:%H:%M}")
        return
    local = moment.astimezone(ZoneInfo(zone))
    shown = local.time().replace(second=0, microsecond=0)
    # The slow way: walk back minute by minute until one of the two ends is met.
    minute = datetime.combine(local.date(), shown)
    while minute.time() not in {begin, end}:
        minute -= timedelta(minutes=1)
    assert QuietHours.parse(f"{begin:%H:%M}-{end:%H:%M}").cover(local) == (minute.time() == begin)


@given(st.sampled_from(ZONES), st.integers(2020, 2030))
def test_each_instant_of_a_year_with_both_changes_is_judged_by_what_its_wall_clock_shows(zone: str, year: int) -> None:
    hours = QuietHours(22 * 60, 6 * 60)
    moment = datetime(year, 1, 1, tzinfo=UTC)
    seen = set()
    for _ in range(366):
        moment += timedelta(hours=23, minutes=30)
        local = moment.astimezone(ZoneInfo(zone))
        seen.add(hours.cover(local))
        assert hours.cover(local) == (local.hour >= 22 or local.hour < 6)
    assert seen == {True, False}


@pytest.mark.parametrize(
    "text", ["22-06", "24:00-06:00", "22:00–06:00", "22:00-06:60", "٢٢:00-06:00", "", "22:00-22:00"]
)
def test_what_is_no_span_of_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quiet hours"):
        QuietHours.parse(text)


def test_a_loudspeakers_own_settings_go_before_the_common_ones() -> None:
    table = LoudspeakersTable.model_validate(
        {
            "quiet_hours": "22:00-06:00",
            "volumes": {"emergency": 100, "routine": 60},
            "devices": [
                {"id": "horn", "volumes": {"routine": 30}, "quiet_hours": "", "chime": [], "amplifier": "relay"},
                {"id": "hall", "lead_in_seconds": 5},
            ],
        }
    )
    horn, hall, other = (table.profile(name) for name in ("horn", "hall", "other"))
    assert [horn.volume("routine", None), horn.volume("emergency", None), horn.volume("alert", None)] == [30, 100, None]
    assert horn.volume("routine", 0.0) == 0
    assert [one.is_quiet(datetime(2026, 1, 1, 23, tzinfo=UTC)) for one in (horn, hall, other)] == [False, True, True]
    assert [one.has_chime("alert", asked=True) for one in (horn, hall)] == [False, True]
    assert not hall.has_chime("alert", asked=False)
    assert not hall.has_chime("background", asked=True)
    assert (horn.amplifier, horn.lead_in, hall.lead_in, other.amplifier) == ("relay", 2, 5, None)
    assert Profile().volume("alert", None) is None


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"quiet_hours": "night"}, "write quiet hours as 22:00-06:00"),
        ({"volumes": {"loud": 3}}, "emergency"),
        ({"volumes": {"alert": 101}}, "less than or equal to 100"),
        ({"devices": [{"id": "a"}, {"id": "a"}]}, "two tables"),
        ({"cache_bytes": 1000}, "greater than or equal"),
    ],
)
def test_settings_that_mean_nothing_are_refused(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        LoudspeakersTable.model_validate(table)


@given(st.text(alphabet="请注意a1。！.?!;；…\n ”」,，-", max_size=60))
def test_sentences_joined_are_the_text_and_each_has_something_to_speak(text: str) -> None:
    found = sentences(text)
    assert "".join(found) == text
    if any(char.isalnum() for char in text):
        assert all(any(char.isalnum() for char in piece) for piece in found)
    else:
        assert len(found) <= 1
    for piece in found:
        assert not re.search(r"[a1请注意][。！][请注意a1]", piece)


def test_a_text_is_cut_where_people_pause() -> None:
    text = "村民注意！台风“海燕”将于10:30登陆。风速3.14米。“快走！”他说。www.gov.cn. End"
    assert sentences(text) == (
        "村民注意！",
        "台风“海燕”将于10:30登陆。",
        "风速3.14米。",
        "“快走！”",
        "他说。",
        "www.gov.cn.",
        " End",
    )
