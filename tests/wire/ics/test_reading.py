"""Calendar files of other programs, and what is none."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from village_wire.ics.entry import Piece
from village_wire.ics.lines import InvalidCalendar
from village_wire.ics.reading import read_calendar

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
