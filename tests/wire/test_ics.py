"""Calendar files: out and in again, read by an independent parser, and files of others."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from village_wire.broadcasts import CATEGORIES
from village_wire.ics import Entry, InvalidCalendar, Piece, read_calendar, write_calendar
from village_wire.recurrence import Recurrence, Season

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.just("\n"), min_size=1, max_size=200).filter(lambda text: text.strip() == text)  # fmt: skip
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(lambda time: time.replace(microsecond=0))
recurrences = st.builds(
    Recurrence,
    start=moments,
    zone=st.sampled_from(("Asia/Shanghai", "UTC")),
    rule=st.sampled_from(("", "FREQ=DAILY", "FREQ=WEEKLY;UNTIL=20401231T000000Z", "FREQ=MONTHLY;COUNT=5", "FREQ=YEARLY;INTERVAL=2;WKST=SU")),
    left_out=st.lists(moments, max_size=3).map(tuple),
    seasons=st.sampled_from(((), (Season(first="05-01", last="09-30"),), (Season(first="12-01", last="02-28"), Season(first="06-01", last="06-02")))),
    holidays=st.lists(st.dates(), min_size=1, max_size=3).map(tuple),
    on_holidays=st.sampled_from(("leave_out", "only")),
)  # fmt: skip
pieces = texts.map(lambda text: Piece(text=text)) | st.sampled_from(
    (Piece(sound="urn:sha256:" + "a" * 64), Piece(sound="village-track:3"), Piece(sound="village-track:2/15"))
)
entries = st.builds(
    Entry,
    id=st.from_regex(r"[A-Za-z0-9._@:+-]{1,40}", fullmatch=True),
    title=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=80),
    when=recurrences,
    pieces=st.lists(pieces, min_size=1, max_size=3).map(tuple),
    category=st.sampled_from(CATEGORIES),
    rank=st.sampled_from(("notice", "routine", "background")),
    volume=st.none() | st.integers(0, 100).map(float),
    chime=st.booleans(),
    max_seconds=st.integers(10, 14_400),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(entries, max_size=3))
def test_what_is_written_is_read_again_and_by_another_parser_too(made: list[Entry]) -> None:
    text = write_calendar(made, NOW)
    assert read_calendar(text) == made
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    events = icalendar.Calendar.from_ical(text).walk("VEVENT")
    assert len(events) == len(made)
    for event, entry in zip(events, made, strict=True):
        assert str(event["UID"]) == entry.id
        assert str(event["SUMMARY"]) == entry.title
        assert event.decoded("DTSTART").replace(tzinfo=None) == entry.when.start
        assert event.decoded("DURATION") == timedelta(seconds=entry.max_seconds)
        assert ("RRULE" in event) == bool(entry.when.rule)
        if [bool(piece.text) for piece in entry.pieces] == [True]:
            assert str(event["DESCRIPTION"]) == entry.pieces[0].text


def test_the_zone_is_described_as_the_database_has_it() -> None:
    when = Recurrence(start=datetime(2026, 7, 1, 8), zone="Europe/Berlin", rule="FREQ=DAILY")
    text = write_calendar([Entry("a", "A", when, (Piece(text="a"),))], NOW)
    (zone,) = icalendar.Calendar.from_ical(text).walk("VTIMEZONE")
    assert isinstance(zone, icalendar.Timezone)
    made = zone.to_tz()
    for day in range(0, 3000, 7):
        moment = datetime(2026, 1, 15, 12) + timedelta(days=day)
        assert moment.replace(tzinfo=made).utcoffset() == moment.replace(tzinfo=ZoneInfo("Europe/Berlin")).utcoffset()


OTHERS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Somebody//EN
BEGIN:VTIMEZONE
TZID:China Standard Time
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:+0800
TZOFFSETTO:+0800
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:{040000008200E00074C5}
SUMMARY;LANGUAGE=zh-cn:防诈\\, 宣传
DTSTART;TZID=China Standard Time:20261130T070000
DTEND;TZID=China Standard Time:20261130T073000
RRULE:FREQ=WEEKLY;BYDAY=MO
CATEGORIES:村务,反诈宣传
DESCRIPTION:请注意\\n不要转账
 给陌生人
BEGIN:VALARM
TRIGGER:-PT15M
DESCRIPTION:Reminder
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:gone
DTSTART:20261130T070000Z
STATUS:CANCELLED
END:VEVENT
END:VCALENDAR
"""


def test_a_file_of_another_program() -> None:
    (found,) = read_calendar(OTHERS)
    assert found.id.startswith("uid-")
    assert (found.title, found.category, found.max_seconds) == ("防诈, 宣传", "anti_fraud", 1800)
    assert found.pieces == (Piece(text="请注意\n不要转账给陌生人"),)
    assert (found.when.zone, found.when.start, found.when.rule) == ("Asia/Shanghai", datetime(2026, 11, 30, 7), "FREQ=WEEKLY;BYDAY=MO")  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("DTSTART;TZID=China Standard Time:20261130T070000", "DTSTART;VALUE=DATE:20261130"), "line 15: DTSTART needs a time of day"),
        (("RRULE:FREQ=WEEKLY;BYDAY=MO", "RDATE:20261201T070000"), "RDATE is not supported"),
        (("RRULE:FREQ=WEEKLY;BYDAY=MO", "RRULE:FREQ=SECONDLY"), "FREQ is one of"),
        (("DESCRIPTION:请注意\\n不要转账\n 给陌生人\n", ""), "nothing to play"),
        (("VERSION:2.0", "no line"), "line 2: not a line"),
        (("END:VCALENDAR", ""), "not a whole VCALENDAR"),
        (("END:VEVENT", "END:VTODO"), "without its BEGIN"),
        (("20261130T070000", "20261399T070000"), "is no time"),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_named_with_its_line(change: tuple[str, str], told: str) -> None:
    with pytest.raises(InvalidCalendar, match=told):
        read_calendar(OTHERS.replace(*change, 1))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(0, 900), st.integers(0, 60))
def test_any_text_is_a_calendar_or_refused(junk: str, place: int, cut: int) -> None:
    for text in (junk, OTHERS[:place] + junk + OTHERS[place + cut :]):
        try:
            read_calendar(text)
        except InvalidCalendar:
            continue
