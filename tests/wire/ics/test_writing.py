"""Calendar files: out and in again, and read by an independent parser."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
from hypothesis import given, settings
from hypothesis import strategies as st

from village_wire.broadcasts import CATEGORIES
from village_wire.ics.entry import Entry, Piece
from village_wire.ics.reading import read_calendar
from village_wire.ics.writing import write_calendar
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
