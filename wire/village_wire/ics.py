"""Programmes as an iCalendar file (RFC 5545): one event each. Pure.

The playlist are the attachments and `X-VILLAGE-TEXT` in their order; without any, the description is spoken. Class, volume, chime, seasons and
holidays are `X-VILLAGE-…` properties, which other programs keep or ignore. `DURATION` bounds the length.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError

from village_wire.broadcasts import CATEGORIES, Category
from village_wire.recurrence import ZONE, InvalidRecurrence, Recurrence, zone_of

#: Fifty programmes with the longest texts have less than half of it.
MAX_FILE_BYTES = 1_000_000
MAX_EVENTS = 1000
_PRODUCT = "-//village-edge//schedule 1//EN"
_FOLD_BYTES = 75
_ID = re.compile(r"[A-Za-z0-9._@:+-]{1,120}", re.ASCII)
_LINE = re.compile(
    r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)', re.DOTALL
)
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=("[^"]*"|[^";:]*)')
_DURATION = re.compile(r"P(?:(\d{1,3})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?", re.ASCII)
#: Names of zones that are none of the time zone database.
_ZONES = {"China Standard Time": ZONE, "(UTC+08:00) Beijing, Chongqing, Hong Kong, Urumqi": ZONE}
_WORDS: dict[str, Category] = {
    "防诈": "anti_fraud",
    "反诈": "anti_fraud",
    "法律": "law",
    "普法": "law",
    "气象": "weather",
    "天气": "weather",
    "消防": "fire",
    "防火": "fire",
    "新闻": "news",
    "音乐": "music",
}
#: What would change the times, and has no place in a programme.
_UNSUPPORTED = frozenset({"RDATE", "EXRULE", "RECURRENCE-ID"})


class InvalidCalendar(ValueError):
    """Not a calendar that can be used; the text says where and why."""


#: What a track of the loudspeaker's own card is attached by; its number follows, or `folder/number`.
TRACK = "village-track:"


class Piece(NamedTuple):
    """One piece of a playlist: a text, or where a sound is (`urn:sha256:…`, `village-track:2/15` on the loudspeaker's card, or a path)."""

    text: str = ""
    sound: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A programme as it stands in a calendar."""

    id: str
    title: str
    when: Recurrence
    pieces: tuple[Piece, ...]
    category: Category = "other"
    rank: str = "routine"
    volume: float | None = None
    chime: bool = True
    max_seconds: int = 3600


class _Property(NamedTuple):
    line: int
    name: str
    parameters: dict[str, str]
    value: str


def write_calendar(entries: Sequence[Entry], now: datetime) -> str:
    """Return the file; `now` is when it is written."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", f"PRODID:{_PRODUCT}", "CALSCALE:GREGORIAN"]
    first = min((entry.when.start.year for entry in entries), default=now.year)
    for zone in sorted({entry.when.zone for entry in entries} - {"UTC"}):
        lines += _zone_lines(zone, first)
    for entry in entries:
        lines += _event_lines(entry, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in _fold(line))


def read_calendar(text: str) -> list[Entry]:
    """Return the programmes of a file; cancelled events are left out. Raises `InvalidCalendar`."""
    if len(text.encode(errors="replace")) > MAX_FILE_BYTES:
        raise InvalidCalendar(f"more than {MAX_FILE_BYTES} bytes")
    entries: list[Entry] = []
    inside: list[str] = []
    event: list[_Property] = []
    seen = False
    for found in _properties(text):
        if found.name == "BEGIN":
            inside.append(found.value.upper())
            seen = seen or inside == ["VCALENDAR"]
            if inside[-1] == "VEVENT":
                event = []
        elif found.name == "END":
            if not inside or inside.pop() != found.value.upper():
                raise InvalidCalendar(f"line {found.line}: END:{found.value[:20]} without its BEGIN")
            if found.value.upper() == "VEVENT":
                entries += _entries(event, found.line)
                if len(entries) > MAX_EVENTS:
                    raise InvalidCalendar(f"more than {MAX_EVENTS} events")
        elif inside == ["VCALENDAR", "VEVENT"]:
            event.append(found)
    if not seen or inside:
        raise InvalidCalendar("not a whole VCALENDAR")
    return entries


def _event_lines(entry: Entry, now: datetime) -> Iterator[str]:
    when = entry.when
    yield from ("BEGIN:VEVENT", f"UID:{entry.id}", f"DTSTAMP:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    yield f"DTSTART{_stamps([when.start], when.zone)}"
    yield f"DURATION:PT{entry.max_seconds}S"
    yield f"SUMMARY:{_escape(entry.title)}"
    yield f"CATEGORIES:{entry.category}"
    if when.rule:
        yield f"RRULE:{when.rule}"
    if when.left_out:
        yield f"EXDATE{_stamps(when.left_out, when.zone)}"
    if [piece for piece in entry.pieces if piece.text] == list(entry.pieces) and len(entry.pieces) == 1:
        yield f"DESCRIPTION:{_escape(entry.pieces[0].text)}"
    else:
        for piece in entry.pieces:
            kind = "" if piece.sound.startswith(TRACK) else ";FMTTYPE=audio/ogg"
            yield f"X-VILLAGE-TEXT:{_escape(piece.text)}" if piece.text else f"ATTACH{kind}:{piece.sound}"
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


def _escape(text: str) -> str:
    plain = "".join(sign for sign in text.replace("\r\n", "\n").replace("\r", "\n") if sign >= " " or sign in "\n\t")
    return plain.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] in "nN" else match[1], text)


def _fold(line: str) -> Iterator[str]:
    """Cut a line into pieces of 75 bytes, never inside a character."""
    piece = ""
    for sign in line:
        if len((piece + sign).encode()) > _FOLD_BYTES:
            yield piece
            piece = " "
        piece += sign
    yield piece


def _properties(text: str) -> Iterator[_Property]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    whole: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, 1):
        if line[:1] in {" ", "\t"} and whole:
            whole[-1][1].append(line[1:])
        elif line.strip():
            whole.append((number, [line]))
    for number, pieces in whole:
        match = _LINE.fullmatch("".join(pieces))
        if match is None:
            raise InvalidCalendar(f"line {number}: not a line of a calendar")
        parameters = {key.upper(): value.strip('"') for key, value in _PARAMETER.findall(match[2])}
        yield _Property(number, match[1].upper(), parameters, match[3])


def _entries(event: list[_Property], line: int) -> list[Entry]:
    by_name = {found.name: found for found in reversed(event)}
    if any(found.name == "STATUS" and found.value.upper() == "CANCELLED" for found in event):
        return []
    for found in event:
        if found.name in _UNSUPPORTED:
            raise InvalidCalendar(
                f"line {found.line}: {found.name} is not supported; give such times an event of their own"
            )
    start = by_name.get("DTSTART")
    if start is None:
        raise InvalidCalendar(f"line {line}: an event without DTSTART")
    try:
        return [_entry(event, by_name, start)]
    except ValidationError as error:
        raise InvalidCalendar(
            f"line {start.line}: {error.errors()[0]['msg'].removeprefix('Value error, ')[:200]}"
        ) from None
    except InvalidRecurrence as error:
        raise InvalidCalendar(f"line {start.line}: {error}") from None


def _entry(event: list[_Property], by_name: dict[str, _Property], start: _Property) -> Entry:
    title = _text(by_name, "SUMMARY")[:80] or "?"
    sounds = [found for found in event if found.name in {"ATTACH", "X-VILLAGE-TEXT"}]
    pieces = [
        Piece(sound=found.value) if found.name == "ATTACH" else Piece(text=_unescape(found.value)) for found in sounds
    ]
    if not pieces:
        spoken = _text(by_name, "DESCRIPTION").strip()
        if not spoken:
            raise InvalidCalendar(f"line {start.line}: nothing to play: neither DESCRIPTION nor ATTACH")
        pieces = [Piece(text=spoken)]
    uid = _text(by_name, "UID")
    identity = uid if _ID.fullmatch(uid) else f"uid-{hashlib.sha256((uid or title).encode()).hexdigest()[:16]}"
    zone, first = _moment(start, start.value)
    left_out = [_moment(found, one)[1] for found in event if found.name == "EXDATE" for one in found.value.split(",")]
    only = "X-VILLAGE-HOLIDAYS-ONLY" in by_name
    holidays = by_name.get("X-VILLAGE-HOLIDAYS-ONLY" if only else "X-VILLAGE-HOLIDAYS")
    seasons = by_name.get("X-VILLAGE-SEASONS")
    rule = by_name.get("RRULE")
    when: dict[str, Any] = {
        "start": first,
        "zone": zone,
        "rule": rule.value.strip() if rule else "",
        "left_out": left_out,
        "on_holidays": "only" if only else "leave_out",
        "holidays": [_day(holidays, one) for one in holidays.value.split(",")] if holidays else [],
        "seasons": [
            dict(zip(("first", "last"), one.partition("/")[::2], strict=True)) for one in seasons.value.split(",")
        ]
        if seasons
        else [],
    }
    return Entry(
        identity,
        title,
        Recurrence.model_validate(when),
        tuple(pieces),
        _category(by_name),
        _text(by_name, "X-VILLAGE-CLASS").lower() or "routine",
        _volume(by_name),
        _text(by_name, "X-VILLAGE-CHIME").upper() != "FALSE",
        _seconds(by_name, start, first),
    )


def _text(by_name: dict[str, _Property], name: str) -> str:
    found = by_name.get(name)
    return _unescape(found.value) if found else ""


def _category(by_name: dict[str, _Property]) -> Category:
    for word in _text(by_name, "CATEGORIES").split(","):
        plain = word.strip().lower().replace("-", "_").replace(" ", "_")
        for category in CATEGORIES:
            if plain == category:
                return category
        for name, category in _WORDS.items():
            if name in word:
                return category
    return "other"


def _volume(by_name: dict[str, _Property]) -> float | None:
    found = by_name.get("X-VILLAGE-VOLUME")
    if found is None:
        return None
    try:
        volume = float(found.value)
    except ValueError:
        volume = -1.0
    if not 0 <= volume <= 100:
        raise InvalidCalendar(f"line {found.line}: a volume is 0 to 100 percent")
    return volume


def _seconds(by_name: dict[str, _Property], start: _Property, first: datetime) -> int:
    """The length bound: that of the event, within the limits of a programme."""
    seconds = 3600.0
    duration, end = by_name.get("DURATION"), by_name.get("DTEND")
    if duration is not None:
        match = _DURATION.fullmatch(duration.value.strip())
        if match is None:
            raise InvalidCalendar(f"line {duration.line}: a duration is written like PT30M")
        days, hours, minutes, rest = (int(part or 0) for part in match.groups())
        seconds = days * 86_400 + hours * 3600 + minutes * 60 + rest
    elif end is not None and end.parameters.get("TZID") == start.parameters.get("TZID"):
        seconds = (_moment(end, end.value)[1] - first).total_seconds()
    return int(min(max(seconds, 10), 4 * 3600))


def _moment(found: _Property, text: str) -> tuple[str, datetime]:
    """Return zone and local time of DTSTART, DTEND or EXDATE."""
    text = text.strip()
    if found.parameters.get("VALUE") == "DATE" or "T" not in text:
        raise InvalidCalendar(f"line {found.line}: {found.name} needs a time of day")
    zone = found.parameters.get("TZID", ZONE)
    try:
        time = datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local
    except ValueError:
        raise InvalidCalendar(f"line {found.line}: {text[:40]!r} is no time") from None
    return ("UTC" if text.endswith("Z") else _ZONES.get(zone, zone)), time


def _day(found: _Property, text: str) -> str:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date().isoformat()  # noqa: DTZ007 - a day
    except ValueError:
        raise InvalidCalendar(f"line {found.line}: {text[:40]!r} is no day such as 20261001") from None
