from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_cli.times import InvalidTime, duration, local, local_text, parse_span, parse_time, read_time, rfc3339

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
MOMENTS = st.datetimes(
    timezones=st.just(UTC) | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
)


@pytest.fixture
def beijing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    assert parse_span(text) == span
    assert parse_time(text, NOW) == NOW - span


@pytest.mark.usefixtures("beijing")
def test_a_time_without_offset_is_local() -> None:
    assert parse_time("2026-11-24T08:30", NOW) == datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
    assert parse_time("2026-11-24", NOW) == datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
    assert parse_time("2026-11-24T08:30Z", NOW) == datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    assert local_text("2026-11-24T00:30:00.123456789Z") == "2026-11-24 08:30:00 +08:00"
    assert local_text("9999-12-31T23:59:59Z") == "9999-12-31 23:59:59 +00:00"
    assert local_text(None) == local_text("soon") == local_text(5) == "-"


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1.5h", "24 h", "٣h", "999999999w", "now", "2026-13-01", "24h\n"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidTime):
        parse_time(text, NOW)


@given(
    st.text() | st.from_regex(r"[0-9]{0,12}[smhdw]?", fullmatch=True) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*")
)
def test_whatever_the_text_only_the_own_error_is_raised(text: str) -> None:
    try:
        found = parse_time(text, NOW)
    except InvalidTime:
        return
    assert found.tzinfo is UTC


@given(MOMENTS)
def test_a_time_survives_the_way_to_the_collector_and_back(moment: datetime) -> None:
    try:
        text = rfc3339(moment)
    except OverflowError:
        return
    assert read_time(text) == moment
    assert parse_time(text, NOW) == moment


@given(MOMENTS)
def test_every_time_can_be_shown(moment: datetime) -> None:
    assert re.fullmatch(r"\d{1,4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", local(moment))


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (-5, "0 s", "0 秒"),
        (59, "59 s", "59 秒"),
        (61, "1 min 1 s", "1 分 1 秒"),
        (7500, "2 h 5 min", "2 小时 5 分"),
        (273600, "3 d 4 h", "3 天 4 小时"),
    ],
)
def test_durations(seconds: int, english: str, chinese: str) -> None:
    assert duration(timedelta(seconds=seconds), "en") == english
    assert duration(timedelta(seconds=seconds), "zh") == chinese


@given(st.timedeltas())
def test_every_duration_can_be_shown(span: timedelta) -> None:
    assert duration(span, "en")
    assert duration(span, "zh")
