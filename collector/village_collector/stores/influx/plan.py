"""What an InfluxDB is set up to, in our words and in the server's. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

RETENTION, LONG_RETENTION = timedelta(days=90), timedelta(days=5 * 365)
SHORTEST_RETENTION = timedelta(hours=1)
ADMIN_FILE, COLLECTOR_FILE, GRAFANA_FILE = "influx-admin-token", "influx-token", "influx-grafana-token"
Outcome = Literal["made", "changed", "kept"]


class SetupFailed(Exception):
    """Nothing more was changed; the text says what to do."""


class Step(NamedTuple):
    """One thing that is right now (or would be, in a dry run), and what it took."""

    part: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What there is to be. A retention of None leaves an existing bucket as it is; `timedelta(0)` keeps for ever."""

    url: str
    organisation: str
    bucket: str
    folder: Path
    retention: timedelta | None = None
    long_retention: timedelta | None = None
    delete_older: bool = False
    owner: str = ""

    @property
    def downsampled_bucket(self) -> str:
        """The bucket of five-minute means."""
        return f"{self.bucket}-5m"

    def telemetry(self) -> Mapping[str, str]:
        """The keys of the collector's table `[telemetry]`."""
        return {
            "store": "influx",
            "url": self.url,
            "organisation": self.organisation,
            "bucket": self.bucket,
            "downsampled_bucket": self.downsampled_bucket,
            "token_file": str(self.folder / COLLECTOR_FILE),
        }


@dataclass(frozen=True, slots=True)
class Admin:
    """Who sets up: a token for a server that is in use, or the first user of a new one. Nothing of it shows in texts."""

    token: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


def task_name(downsampled_bucket: str) -> str:
    """Return the name of the task that fills a bucket."""
    return f"village {downsampled_bucket}"


#: A thousand years, in seconds.
_FOR_EVER = 1000 * 366 * 86_400


def retention_of(bucket: dict[str, Any]) -> timedelta | None:
    """Return how long a bucket keeps points; None: for ever. `bucket` is as the server describes it."""
    rules = bucket.get("retentionRules")
    spans = [
        rule.get("everySeconds")
        for rule in (rules if isinstance(rules, list) else ())
        if isinstance(rule, dict) and rule.get("type") == "expire"
    ]
    seconds = spans[0] if spans else None
    return timedelta(seconds=seconds) if isinstance(seconds, int) and 0 < seconds < _FOR_EVER else None


def kept(span: timedelta) -> str:
    """Return the words for a retention; `timedelta(0)` is for ever."""
    if not span:
        return "kept for ever"
    days = span / timedelta(days=1)
    return f"kept {days:g} days" if days >= 1 else f"kept {days * 24:g} hours"
