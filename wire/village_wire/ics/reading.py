"""Reads programmes from an iCalendar file. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from village_wire.broadcasts import CATEGORIES, Category
from village_wire.ics.entry import Entry, Piece
from village_wire.ics.lines import InvalidCalendar, Property, properties, unescape
from village_wire.recurrence import ZONE, InvalidRecurrence, Recurrence

#: Fifty programmes with the longest texts have less than half of it.
MAX_FILE_BYTES = 1_000_000
MAX_EVENTS = 1000
_ID = re.compile(r"[A-Za-z0-9._@:+-]{1,120}", re.ASCII)
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


def read_calendar(text: str) -> list[Entry]:
    """Return the programmes of a file; cancelled events are left out. Raises `InvalidCalendar`."""
    if len(text.encode(errors="replace")) > MAX_FILE_BYTES:
        raise InvalidCalendar(f"more than {MAX_FILE_BYTES} bytes")
    entries: list[Entry] = []
    inside: list[str] = []
    event: list[Property] = []
    seen = False
    for found in properties(text):
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


def _entries(event: list[Property], line: int) -> list[Entry]:
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


def _entry(event: list[Property], by_name: dict[str, Property], start: Property) -> Entry:
    title = _text(by_name, "SUMMARY")[:80] or "?"
    sounds = [found for found in event if found.name in {"ATTACH", "X-VILLAGE-TEXT"}]
    pieces = [
        Piece(sound=found.value) if found.name == "ATTACH" else Piece(text=unescape(found.value)) for found in sounds
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


def _text(by_name: dict[str, Property], name: str) -> str:
    found = by_name.get(name)
    return unescape(found.value) if found else ""


def _category(by_name: dict[str, Property]) -> Category:
    for word in _text(by_name, "CATEGORIES").split(","):
        plain = word.strip().lower().replace("-", "_").replace(" ", "_")
        for category in CATEGORIES:
            if plain == category:
                return category
        for name, category in _WORDS.items():
            if name in word:
                return category
    return "other"


def _volume(by_name: dict[str, Property]) -> float | None:
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


def _seconds(by_name: dict[str, Property], start: Property, first: datetime) -> int:
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


def _moment(found: Property, text: str) -> tuple[str, datetime]:
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


def _day(found: Property, text: str) -> str:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d").date().isoformat()  # noqa: DTZ007 - a day
    except ValueError:
        raise InvalidCalendar(f"line {found.line}: {text[:40]!r} is no day such as 20261001") from None
