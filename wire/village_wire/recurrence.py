"""When a programme is due: recurrence rules of iCalendar (RFC 5545) by the clock on a village's wall.

A rule is expanded in local time and each time is then looked up in the zone. A time that the zone skips in spring is taken with the offset
before the change (half past two becomes half past three), and one that comes twice in autumn is the first of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

if TYPE_CHECKING:
    from dateutil.rrule import rrule, weekday

ZONE = "Asia/Shanghai"
MAX_RULE = 300
#: One a day for 27 years.
MAX_COUNT = 10_000
#: Every half hour; what is said more often is not heard any more.
MAX_A_DAY = 48
#: Times left out, and holidays: thirty years of the eleven days of a year.
MAX_DATES = 366
MAX_SEASONS = 12
#: A longer look ahead is of no use to anybody, and costs up to a second on a small box.
MAX_WINDOW = timedelta(days=400)
_DAY = timedelta(days=1)
#: An interval that leads from any day beyond the last that a datetime can hold.
_ONE_PERIOD = {"YEARLY": 8000, "MONTHLY": 96_000, "WEEKLY": 420_000, "DAILY": 2_940_000}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
#: With the number that the library gives each.
_FREQUENCIES: Mapping[str, Literal[0, 1, 2, 3]] = {"YEARLY": 0, "MONTHLY": 1, "WEEKLY": 2, "DAILY": 3}
_NUMBERS: Mapping[str, tuple[int, int]] = {
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYMONTH": (1, 12),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSETPOS": (-366, 366),
}
_BYDAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,4}", re.ASCII)
_UNTIL = re.compile(r"[0-9]{8}(T[0-9]{6}Z?)?", re.ASCII)
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)
_MONTH_DAY = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)


class InvalidRecurrence(ValueError):
    """The rule or zone can't be used; the text is the reason."""


def _local(time: datetime) -> datetime:
    if time.tzinfo is not None:
        raise ValueError("a local time has no offset; the zone stands beside it")
    if not 2000 <= time.year <= 2100 or time.microsecond:
        raise ValueError("a local time lies in the years 2000 to 2100 and has whole seconds")
    return time


def _zone(name: str) -> str:
    # Whether there is such a zone stands on the disk, and is looked up when it is needed.
    if _ZONE_NAME.fullmatch(name) is None:
        raise ValueError("a time zone is named like Asia/Shanghai")
    return name


def _month_day(text: str) -> str:
    if _MONTH_DAY.fullmatch(text) is None:
        raise ValueError("write a day of the year as MM-DD, such as 06-15")
    return text


#: What the clock on the wall shows: `2026-11-24T06:30:00`.
LocalTime = Annotated[
    datetime,
    AfterValidator(_local),
    PlainSerializer(lambda time: time.isoformat(timespec="seconds"), return_type=str, when_used="json"),
]
_MonthDay = Annotated[str, AfterValidator(_month_day)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Season(_Model):
    """Days of each year, `first` and `last` among them; one that ends earlier than it begins goes over New Year."""

    first: _MonthDay
    last: _MonthDay

    def holds(self, day: date) -> bool:
        """Whether a day is in it."""
        text = f"{day:%m-%d}"
        if self.first <= self.last:
            return self.first <= text <= self.last
        return text >= self.first or text <= self.last


class Recurrence(_Model):
    """When something is due.

    The rule itself gives `start`: calendars differ in what they make of another one. So a rule that gives nothing at all is none, and
    the library, which would look for its next time until the year 9999, comes to an end.

    `start` is the first time, `rule` an RRULE without its name (empty: once). Left out are the times in `left_out`, days outside all
    `seasons` (none: the whole year), and those in `holidays`, or with `on_holidays` "only" all others.
    """

    start: LocalTime
    zone: Annotated[str, Field(max_length=40), AfterValidator(_zone)] = ZONE
    rule: Annotated[str, Field(max_length=MAX_RULE)] = ""
    left_out: Annotated[tuple[LocalTime, ...], Field(max_length=MAX_DATES)] = ()
    seasons: Annotated[tuple[Season, ...], Field(max_length=MAX_SEASONS)] = ()
    holidays: Annotated[tuple[date, ...], Field(max_length=MAX_DATES)] = ()
    on_holidays: Literal["leave_out", "only"] = "leave_out"

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.rule:
            _parse(self.rule).check_first(self.start)
        if self.on_holidays == "only" and not self.holidays:
            raise ValueError("without a list of holidays nothing plays on holidays only")
        return self

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Return the times in [start, end) in UTC, in their order; both are aware, and at most `MAX_WINDOW` apart.

        Raises:
            InvalidRecurrence: this machine does not know the time zone.
        """
        if end - start > MAX_WINDOW:
            raise ValueError(f"at most {MAX_WINDOW.days} days at once")
        zone = zone_of(self.zone)
        # No zone changes its offset by more than a day.
        first = start.astimezone(zone).replace(tzinfo=None) - _DAY
        last = end.astimezone(zone).replace(tzinfo=None) + _DAY
        found = {
            time.replace(tzinfo=zone).astimezone(UTC) for time in self._local_times(first, last) if self._plays(time)
        }
        return sorted(time for time in found if start <= time < end)

    def check_zone(self) -> None:
        """Raise `InvalidRecurrence` where this machine does not know the time zone."""
        zone_of(self.zone)

    def _plays(self, time: datetime) -> bool:
        day = time.date()
        if time in self.left_out or (self.seasons and not any(season.holds(day) for season in self.seasons)):
            return False
        return (day in self.holidays) == (self.on_holidays == "only")

    def _local_times(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Give the rule's own times in [first, last)."""
        if not self.rule:
            yield from [self.start] if first <= self.start < last else []
            return
        parts = _parse(self.rule)
        end = parts.until
        if end is not None and end.tzinfo is not None:
            end = end.astimezone(zone_of(self.zone)).replace(tzinfo=None)
        until = min(last, end) if end else last
        if parts.count:
            times: Iterator[datetime] = islice(parts.make(self.start, until), parts.count)
        else:
            times = iter(parts.make(self._near(parts, first), until))
        for time in times:
            if time >= first and time < last:
                yield time

    def _near(self, parts: _Parts, first: datetime) -> datetime:
        """Return a start from which the rule gives the same times from `first` on: whole periods later, without all those before."""
        days = parts.interval * {"DAILY": 1, "WEEKLY": 7}.get(parts.frequency, 0)
        if not days:
            return self.start
        # A week that was begun in its middle has not all its times.
        periods = (first - self.start).days // days - 1
        return self.start + timedelta(days=max(0, periods) * days)


class _Parts:
    """A rule taken apart. `make(start, until)` gives its times from `start` to `until`, without its own count."""

    def __init__(self, text: str) -> None:
        self.text = text
        fields: dict[str, str] = {}
        for part in text.split(";"):
            key, equals, value = part.partition("=")
            if not equals or not value or key in fields:
                raise InvalidRecurrence(f"{part[:40]!r} is no part of a rule, or stands there twice")
            fields[key] = value
        self.frequency = fields.pop("FREQ", "")
        if self.frequency not in _FREQUENCIES:
            raise InvalidRecurrence(f"FREQ is one of {', '.join(_FREQUENCIES)}")
        self.interval = _whole(fields.pop("INTERVAL", "1"), "INTERVAL", 1, 1000)
        self.count = _whole(fields.pop("COUNT", "0"), "COUNT", 0, MAX_COUNT)
        until = fields.pop("UNTIL", "")
        self.until = _until(until) if until else None
        if self.count and self.until:
            raise InvalidRecurrence("a rule has COUNT or UNTIL, not both")
        week_start = fields.pop("WKST", "MO")
        if week_start not in _WEEKDAYS:
            raise InvalidRecurrence(f"WKST is one of {', '.join(_WEEKDAYS)}")
        self._week_start = _WEEKDAYS.index(week_start)
        self._days = self._read_days(fields.pop("BYDAY", ""))
        self._numbers = {key.lower(): _numbers(key, value) for key, value in fields.items()}
        if "bysetpos" in self._numbers and len(self._numbers) == 1 and not self._days:
            raise InvalidRecurrence("BYSETPOS chooses among the times of another BY part")
        if "byyearday" in self._numbers and self.frequency != "YEARLY":
            raise InvalidRecurrence("BYYEARDAY belongs to FREQ=YEARLY")
        if "bymonthday" in self._numbers and self.frequency == "WEEKLY":
            raise InvalidRecurrence("BYMONTHDAY does not go with FREQ=WEEKLY")
        a_day = len(self._numbers.get("byhour", (0,))) * len(self._numbers.get("byminute", (0,)))
        if a_day > MAX_A_DAY:
            raise InvalidRecurrence(f"{a_day} times a day are more than {MAX_A_DAY}")

    def _read_days(self, text: str) -> list[tuple[int, int]]:
        found = []
        for one in text.split(",") if text else []:
            match = _BYDAY.fullmatch(one)
            if match is None:
                raise InvalidRecurrence(f"{one[:20]!r} is no weekday of BYDAY, such as MO or -1FR")
            nth = int(match[1] or 0)
            if match[1] and (not 1 <= abs(nth) <= 53 or self.frequency not in {"MONTHLY", "YEARLY"}):
                raise InvalidRecurrence(f"BYDAY={one}: a number from 1 to 53, and only monthly or yearly")
            found.append((_WEEKDAYS.index(match[2]), nth))
        if len({bool(nth) for _, nth in found}) > 1:
            # The library takes both conditions for one.
            raise InvalidRecurrence("BYDAY has numbers before all weekdays or before none; make two programmes")
        return found

    def check_first(self, start: datetime) -> None:
        """Raise `InvalidRecurrence` unless the rule gives this time; looks at the first day, week, month or year only."""
        try:
            first = next(iter(self.make(start, start + MAX_WINDOW, _ONE_PERIOD[self.frequency])), None)
        except (ValueError, OverflowError) as error:
            raise InvalidRecurrence(str(error)) from None
        if first != start:
            shown = "" if first is None else f", but first at {first.isoformat(timespec='minutes')}"
            raise InvalidRecurrence(
                f"the rule {self.text} is not due at its start {start.isoformat(timespec='minutes')}{shown}"
            )

    def make(self, start: datetime, until: datetime, interval: int = 0) -> rrule:
        """Return the library's rule, with another interval if one is given."""
        from dateutil.rrule import rrule, weekday

        days: list[weekday] = [weekday(day, nth or None) for day, nth in self._days]
        more: dict[str, Any] = {**self._numbers, **({"byweekday": days} if days else {})}
        return rrule(
            _FREQUENCIES[self.frequency],
            dtstart=start,
            interval=interval or self.interval,
            wkst=self._week_start,
            until=until,
            **more,
        )


_parse: Callable[[str], _Parts] = lru_cache(maxsize=64)(_Parts)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name; raises `InvalidRecurrence`."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise InvalidRecurrence(f"unknown time zone {name[:40]!r}") from None


def _whole(text: str, key: str, least: int, most: int) -> int:
    if _NUMBER.fullmatch(text) is None and not text.isdecimal():
        raise InvalidRecurrence(f"{key} is a number")
    value = int(text[:9])
    if not least <= value <= most:
        raise InvalidRecurrence(f"{key} is at least {least} and at most {most}")
    return value


def _numbers(key: str, text: str) -> tuple[int, ...]:
    if key not in _NUMBERS:
        raise InvalidRecurrence(f"{key[:20]!r} is not supported in a rule")
    least, most = _NUMBERS[key]
    values = tuple(_whole(one, key, least, most) for one in text.split(","))
    if least < 0 and 0 in values:
        raise InvalidRecurrence(f"{key} has no 0")
    return values


def _until(text: str) -> datetime:
    """Return the last time, local unless it is aware; a day counts to its end."""
    if _UNTIL.fullmatch(text) is None:
        raise InvalidRecurrence("UNTIL is a date such as 20271231, or a time such as 20271231T160000Z")
    try:
        if len(text) == 8:
            return datetime.strptime(text, "%Y%m%d").replace(hour=23, minute=59, second=59)  # noqa: DTZ007 - local
        time = datetime.strptime(text[:15], "%Y%m%dT%H%M%S")  # noqa: DTZ007 - local
        if text.endswith("Z"):
            time = time.replace(tzinfo=UTC)
    except ValueError:
        raise InvalidRecurrence(f"UNTIL={text} is no time") from None
    return time
