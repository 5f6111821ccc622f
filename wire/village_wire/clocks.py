"""Times on the wire: UTC, RFC 3339, microseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer


def format_time(time: datetime) -> str:
    """Return `2026-11-24T09:58:31.000000Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _to_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        # pydantic passes on only ValueError as a problem of the input.
        raise ValueError("outside the years 1 to 9999") from None


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_to_utc),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
