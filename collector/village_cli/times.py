"""Times as people write and read them: spans such as `24h`, ISO times, local time with its offset."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta

from village_cli.failures import USAGE, Failure
from village_wire.language import Bilingual, Language

_SPAN = re.compile(r"([0-9]{1,9})(s|m|h|d|w)", re.ASCII)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class InvalidTime(Failure):
    """The text is neither a span nor a time; `ahead` where `18:30` would have been one."""

    def __init__(self, text: str, *, ahead: bool = False) -> None:
        shown = text[:40]
        super().__init__(
            Bilingual(f"{shown!r} is no time.", f"{shown!r} 不是有效时间。"),
            Bilingual(
                f"Write {'a time of day (18:30), ' if ahead else ''}a span (90s, 15m, 24h, 7d, 2w) or an ISO time"
                " (2026-11-24T08:30).",
                f"请写{'时刻（18:30）、' if ahead else ''}时长（90s、15m、24h、7d、2w）或 ISO 时间（2026-11-24T08:30）。",
            ),
            exit_code=USAGE,
        )


def parse_span(text: str) -> timedelta:
    """Return a span of whole seconds, minutes, hours, days or weeks; raise `InvalidTime`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise InvalidTime(text)
    # Nine digits of weeks are 19 million years: beyond what a timedelta holds.
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > timedelta.max.total_seconds() / 2:
        raise InvalidTime(text)
    return timedelta(seconds=seconds)


def parse_time(text: str, now: datetime) -> datetime:
    """Return a moment in UTC: a span before `now`, or an ISO date or time (local when it has no offset); raise `InvalidTime`."""
    try:
        if _SPAN.fullmatch(text):
            return (now - parse_span(text)).astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidTime(text) from None


def is_span(text: str) -> bool:
    """Tell whether a text is a span, as `parse_span` takes it."""
    return _SPAN.fullmatch(text) is not None


def parse_moment(text: str, base: datetime) -> datetime:
    """Return a moment in UTC that lies ahead: a span after `base`, an ISO time, or `18:30`, which is the next such local time.

    Raises `InvalidTime`.
    """
    try:
        if is_span(text):
            return (base + parse_span(text)).astimezone(UTC)
        if _CLOCK.fullmatch(text):
            local_base = base.astimezone()
            hour, minute = (int(part) for part in text.split(":"))
            found = local_base.replace(hour=hour, minute=minute, second=0, microsecond=0)
            if found <= local_base:
                found = (found.replace(tzinfo=None) + timedelta(days=1)).astimezone()
            return found.astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidTime(text, ahead=True) from None


def rfc3339(moment: datetime) -> str:
    """Return a moment as the HTTP API takes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_time(text: object) -> datetime | None:
    """Return a moment in UTC from the HTTP API, or None where the document has none or none that can be read."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def local(moment: datetime | None) -> str:
    """Return local time with its offset, to the second: `2026-11-24 08:30:00 +08:00`; `-` for None."""
    if moment is None:
        return "-"
    # Years 1 and 9999 have moments that no other offset can express; they stay in UTC.
    with contextlib.suppress(OverflowError, ValueError, OSError):
        moment = moment.astimezone()
    offset = f"{moment:%z}"
    return f"{moment:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def local_text(text: object) -> str:
    """Return `local` of a time in a document."""
    return local(read_time(text))


def duration(span: timedelta, language: Language) -> str:
    """Return how long something lasts in its two largest units: `2 h 5 min`, `3 天 4 小时`. Less than nothing counts as nothing."""
    seconds = max(0, int(span.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} 天 {hours} 小时" if language == "zh" else f"{days} d {hours} h"
    if hours:
        return f"{hours} 小时 {minutes} 分" if language == "zh" else f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} 分 {seconds % 60} 秒" if language == "zh" else f"{minutes} min {seconds % 60} s"
    return f"{seconds} 秒" if language == "zh" else f"{seconds} s"
