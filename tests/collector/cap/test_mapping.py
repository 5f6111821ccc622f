"""What of an alert is heard: the table, the times, the areas and the text."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.cap.kit import NOW, example, rainstorm
from tests.collector.cap.strategies import alerts, infos, places, times
from village_collector.cap.alert import Alert, Certainty, Info, Pair, Place, Resource, Severity, Urgency
from village_collector.cap.areas import map_geocode, map_places
from village_collector.cap.mapping import MAX_AHEAD, MAX_LIFE, REPEATS, TABLE, class_of, narrowed, plan, supersedes
from village_collector.cap.reading import read_alert
from village_collector.cap.speech import spoken
from village_wire.areas import contains, parse_area
from village_wire.broadcasts import CLASSES
from village_wire.commands import MAX_SPOKEN, Broadcast

SEVERITIES = get_args(Severity)
URGENCIES = get_args(Urgency)
CERTAINTIES = get_args(Certainty)


def test_every_combination_has_an_answer() -> None:
    assert set(TABLE) == set(SEVERITIES)
    for severity in SEVERITIES:
        for urgency in URGENCIES:
            for certainty in CERTAINTIES:
                found = class_of(severity, urgency, certainty)
                assert (found is None) == (urgency == "Past" or certainty == "Unlikely")
    assert set(REPEATS) == set(CLASSES)


def test_what_is_worse_or_nearer_is_never_of_a_lower_class() -> None:
    order = ("Extreme", "Severe", "Moderate", "Minor")
    for urgency in ("Immediate", "Expected", "Future", "Unknown"):
        ranks = [CLASSES.index(TABLE[severity][urgency]) for severity in order]  # type: ignore[index]
        assert ranks == sorted(ranks)
    for severity in SEVERITIES:
        ranks = [CLASSES.index(TABLE[severity][urgency]) for urgency in ("Immediate", "Expected", "Future")]
        assert ranks == sorted(ranks)


@given(alerts, times)
def test_whatever_comes_is_planned_within_bounds(alert: Alert, now: datetime) -> None:
    made = plan(alert, now)
    heard = {one.info for one in made.announcements}
    silent = {one.info for one in made.not_aired}
    assert not heard & silent
    if alert.status != "Actual" or alert.message_type in {"Cancel", "Ack", "Error"} or alert.scope != "Public":
        assert not made.announcements
    elif alert.infos:
        assert heard | silent == set(range(1, len(alert.infos) + 1))
    for one in made.announcements:
        begin = one.start or now
        assert now <= begin <= now + MAX_AHEAD
        assert begin < one.end <= begin + MAX_LIFE
        assert 0 < len(one.text) <= MAX_SPOKEN
        assert one.areas
        Broadcast(
            rank=one.rank,
            title=one.title,
            text=one.text,
            start=one.start,
            end=one.end,
            times=one.times,
            pause=one.pause,
        )
        assert [parse_area(area) for area in one.areas] == list(one.areas)


@given(st.lists(places, max_size=4))
def test_no_area_lies_inside_another_and_nothing_is_silently_dropped(found: list[Place]) -> None:
    areas, unmapped = map_places(found)
    assert not any(a != b and contains(a, b) for a in areas for b in areas)
    for place in found:
        for geocode in place.geocodes:
            area, reason = map_geocode(geocode)
            assert any(contains(known, area) for known in areas) if area else bool(reason)
    assert len([one for one in unmapped if one.geocode]) == sum(
        map_geocode(geocode)[0] is None for place in found for geocode in place.geocodes
    )


@given(infos, st.integers(0, 200))
def test_spoken_text_is_bounded(info: Info, longest: int) -> None:
    text, shortened = spoken(info, longest)
    assert len(text) <= longest
    assert text == text.strip()
    assert shortened or len(text) >= len(info.instruction.split())


@pytest.mark.parametrize("status", ["Exercise", "System", "Test", "Draft"])
def test_only_what_is_actual_is_heard_or_takes_back(status: Any) -> None:
    alert = rainstorm(status=status, message_type="Update")
    made = plan(alert, NOW)
    assert (made.announcements, made.not_aired[0].code) == ((), "status")
    assert not supersedes(alert)


def test_the_rainstorm() -> None:
    made = plan(read_alert(example("china_rainstorm")), NOW)
    (heard,) = made.announcements
    assert heard.rank == "emergency"
    # The village inside the township is said once; the English text is for nobody who was not told.
    assert heard.areas == ("441900003000", "441900004001")
    assert heard.text == (
        "示例市气象台发布暴雨红色预警信号。过去三小时降雨量已达一百毫米以上，预计未来三小时强降雨将持续。"
        "请立即停止户外活动，山坡和河边的居民马上转移到安全的地方。"
    )
    assert heard.start is None
    assert heard.end == datetime.fromisoformat("2026-11-24T22:00:00+08:00")
    assert (heard.times, heard.pause, heard.title) == (3, 20.0, "示例市气象台发布暴雨红色预警信号")
    assert [(one.info, one.code) for one in made.not_aired] == [(2, "language")]


def test_another_language_is_heard_where_the_first_is_not() -> None:
    alert = rainstorm()
    english = replace(alert.infos[0], language="en-US", places=(Place("x", (Pair("x", "441900005000"),)),))
    made = plan(replace(alert, infos=(english, *alert.infos)), NOW)
    assert [(one.info, one.language, one.areas) for one in made.announcements] == [
        (2, "zh-CN", ("441900003001",)),
        (1, "en-US", ("441900005000",)),
    ]


@pytest.mark.parametrize("name", ["oasis_a1", "oasis_a2", "oasis_a3", "oasis_a4"])
def test_codes_of_other_countries_are_no_areas(name: str) -> None:
    made = plan(read_alert(example(name)), datetime.fromisoformat("2003-06-17T22:00:00+00:00"))
    assert made.announcements == ()
    assert made.unmapped


@pytest.mark.parametrize(
    ("name", "value", "area"),
    [
        ("行政区划代码", "441900003001", "441900003001"),
        ("x", "441900003", "441900003000"),
        ("x", "441900", "441900000000"),
        ("x", "440000", "440000000000"),
        ("x", "006109", None),
        ("SAME", "441900", None),
        ("fips6", "441900", None),
        ("x", "991900", None),
        ("x", "4419", None),
        ("x", "44190000300１", None),
        ("x", "441900003001-g01", None),
        ("x", "", None),
    ],
)
def test_geocodes(name: str, value: str, area: str | None) -> None:
    assert map_geocode(Pair(name, value))[0] == area


def test_what_is_drawn_only_is_listed() -> None:
    made = plan(rainstorm({"places": (Place("河边", polygons=("1,1 2,2 3,3 1,1",)), Place("山上"))}), NOW)
    assert [(one.info, one.place, one.reason) for one in made.unmapped] == [
        (1, "河边", "only a polygon or circle, no geocode"),
        (1, "山上", "only a description, no geocode"),
    ]
    assert made.not_aired[0].code == "no_area"


@pytest.mark.parametrize(
    ("info", "alert", "code"),
    [
        ({"urgency": "Past"}, {}, "class"),
        ({"certainty": "Unlikely"}, {}, "class"),
        ({"headline": "", "instruction": ""}, {}, "no_text"),
        ({"expires": NOW}, {}, "expired"),
        ({"expires": None}, {"sent": NOW - timedelta(hours=1)}, "expired"),
        ({"effective": NOW + timedelta(days=3), "expires": None}, {}, "too_early"),
        ({}, {"scope": "Restricted"}, "scope"),
        ({}, {"scope": "Private"}, "scope"),
        ({}, {"message_type": "Ack"}, "message_type"),
        ({}, {"message_type": "Cancel"}, "cancel"),
        ({}, {"infos": ()}, "no_info"),
    ],
)
def test_what_is_not_aired(info: dict[str, Any], alert: dict[str, Any], code: str) -> None:
    made = plan(rainstorm(info, **alert), NOW)
    assert [one.code for one in made.not_aired] == [code]
    assert made.announcements == ()


def test_what_is_possible_only_is_one_class_lower() -> None:
    assert class_of("Severe", "Immediate", "Possible") == "alert"
    assert class_of("Minor", "Future", "Possible") == "routine"


def test_the_all_clear_is_heard_although_the_event_is_past() -> None:
    (heard,) = plan(rainstorm({"urgency": "Past", "response_types": ("AllClear",)}), NOW).announcements
    assert heard.rank == "notice"


def test_times() -> None:
    later = NOW + timedelta(hours=1)
    (heard,) = plan(rainstorm({"effective": later, "onset": later + timedelta(hours=1)}), NOW).announcements
    assert (heard.start, heard.end) == (later, NOW + timedelta(hours=3))
    (heard,) = plan(rainstorm({"onset": later}), NOW).announcements
    assert heard.start is None
    (heard,) = plan(rainstorm({"expires": None}), NOW).announcements
    assert heard.end == rainstorm().sent + timedelta(hours=1)
    (heard,) = plan(rainstorm({"expires": NOW + timedelta(days=90)}), NOW).announcements
    assert heard.end == NOW + timedelta(days=7)


def test_a_long_description_is_cut_between_sentences_and_what_to_do_stays() -> None:
    info = replace(rainstorm().infos[0], headline="暴雨。", description="雨很大。" * 600, instruction="请转移。")
    text, shortened = spoken(info)
    assert shortened
    assert len(text) <= MAX_SPOKEN
    assert text.startswith("暴雨。雨很大。")
    assert text.endswith("雨很大。请转移。")


def test_english_sentences_keep_their_spaces_and_a_repeated_headline_is_said_once() -> None:
    info = replace(rainstorm().infos[0], headline="Storm", description="Storm of 3.4 m\n near us", instruction="Run!")
    assert spoken(info)[0] == "Storm of 3.4 m near us. Run!"


def test_only_sounds_that_are_inside_may_be_played() -> None:
    inside = Resource("x", "audio/mpeg", deref_uri="AAAA")
    resources = (Resource("x", "image/png", deref_uri="AAAA"), Resource("x", "audio/mpeg", uri="http://x/"), inside)
    (heard,) = plan(rainstorm({"resources": resources}), NOW).announcements
    assert heard.audio == (inside,)


def test_a_flood_of_blocks_is_bounded() -> None:
    alert = rainstorm()
    made = plan(replace(alert, infos=alert.infos * 12), NOW)
    assert len(made.announcements) == 8
    assert [one.code for one in made.not_aired] == ["too_many"] * 4


@pytest.mark.timeout(10)
def test_a_flood_of_areas_takes_no_time() -> None:
    codes = tuple(Pair("x", f"44{number:07d}") for number in range(1, 6500))
    made = narrowed(plan(rainstorm({"places": (Place("x", codes),)}), NOW), ("440000000000",), ["440000001001"])
    assert made.areas == ("440000001000",)
    assert len(made.unmapped) > 1000
