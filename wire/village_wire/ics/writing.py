"""Writes programmes as an iCalendar file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from village_wire.ics.entry import TRACK, Entry
from village_wire.ics.lines import escape, fold
from village_wire.recurrence import zone_of

_PRODUCT = "-//village-edge//schedule 1//EN"


def write_calendar(entries: Sequence[Entry], now: datetime) -> str:
    """Return the file; `now` is when it is written."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{_PRODUCT}", "CALSCALE:GREGORIAN"]
    first = min((entry.when.start.year for entry in entries), default=now.year)
    for zone in sorted({entry.when.zone for entry in entries} - {"UTC"}):
        lines += _zone_lines(zone, first)
    for entry in entries:
        lines += _event_lines(entry, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in fold(line))


def _event_lines(entry: Entry, now: datetime) -> Iterator[str]:
    when = entry.when
    yield from ("BEGIN:VEVENT", f"UID:{entry.id}", f"DTSTAMP:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    yield f"DTSTART{_stamps([when.start], when.zone)}"
    yield f"DURATION:PT{entry.max_seconds}S"
    yield f"SUMMARY:{escape(entry.title)}"
    yield f"CATEGORIES:{entry.category}"
    if when.rule:
        yield f"RRULE:{when.rule}"
    if when.left_out:
        yield f"EXDATE{_stamps(when.left_out, when.zone)}"
    if [piece for piece in entry.pieces if piece.text] == list(entry.pieces) and len(entry.pieces) == 1:
        yield f"DESCRIPTION:{escape(entry.pieces[0].text)}"
    else:
        for piece in entry.pieces:
            kind = "" if piece.sound.startswith(TRACK) else ";FMTTYPE=audio/ogg"
            yield f"X-VILLAGE-TEXT:{escape(piece.text)}" if piece.text else f"ATTACH{kind}:{piece.sound}"
    yield f"X-VILLAGE-CLASS:{entry.rank}"
    if entry.volume is not None:
        yield f"X-VILLAGE-VOLUME:{entry.volume:g}"
    if not entry.chime:
        yield "X-VILLAGE-CHIME:FALSE"
    if when.seasons:
        yield "X-VILLAGE-SEASONS:" + ",".join(f"{season.first}/{season.last}" for season in when.seasons)
    if when.holidays:
        name = "X-VILLAGE-HOLIDAYS-ONLY" if when.on_holidays == "only" else "X-VILLAGE-HOLIDAYS"
        yield f"{name}:" + ",".join(day.isoformat().replace("-", "") for day in when.holidays)
    yield "END:VEVENT"


def _zone_lines(name: str, first: int) -> Iterator[str]:
    """A VTIMEZONE with each change of the offset in twenty years."""
    zone = zone_of(name)
    begin = datetime(first, 1, 1, tzinfo=UTC)
    changes = [(begin, begin.astimezone(zone).utcoffset() or timedelta())]
    for day in range(20 * 366):
        low, high = begin + timedelta(days=day), begin + timedelta(days=day + 1)
        offset = high.astimezone(zone).utcoffset() or timedelta()
        if offset == changes[-1][1]:
            continue
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) // 2
            low, high = (middle, high) if middle.astimezone(zone).utcoffset() == changes[-1][1] else (low, middle)
        changes.append((high.replace(microsecond=0), offset))
    yield from ("BEGIN:VTIMEZONE", f"TZID:{name}")
    before = changes[0][1]
    for moment, offset in changes:
        kind = "DAYLIGHT" if (moment + timedelta(seconds=1)).astimezone(zone).dst() else "STANDARD"
        yield from (f"BEGIN:{kind}", f"DTSTART:{(moment + before).replace(tzinfo=None):%Y%m%dT%H%M%S}")
        yield from (f"TZOFFSETFROM:{_offset(before)}", f"TZOFFSETTO:{_offset(offset)}", f"END:{kind}")
        before = offset
    yield "END:VTIMEZONE"


def _offset(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def _stamps(times: Iterable[datetime], zone: str) -> str:
    if zone == "UTC":
        return ":" + ",".join(f"{time:%Y%m%dT%H%M%SZ}" for time in times)
    return f";TZID={zone}:" + ",".join(f"{time:%Y%m%dT%H%M%S}" for time in times)
