"""What `[cap]` of the configuration says: whose signatures count, and which feeds are to be heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from village_collector.cap.feeds import Feed
from village_collector.cap.signature import Signer, read_signers
from village_collector.sections import CapSection
from village_wire.settings import InvalidSettings, Problem

#: A source takes weeks to hand out its next certificate.
SOON = timedelta(days=30)


def trusted_signers(cap: CapSection) -> list[Signer]:
    """Return the signers of all feeds; blocks on the disk.

    Raises:
        InvalidSettings: a file can't be used, or a certificate belongs to two feeds, so that it would not be known who speaks.
    """
    found: dict[str, Signer] = {}
    for number, feed in enumerate(cap.feeds):
        for path in feed.trusted_certificates:
            key = f"cap.feeds.{number}.trusted_certificates"
            for signer in _read(feed.name, path, key):
                known = found.setdefault(signer.fingerprint, signer)
                if known.feed != feed.name:
                    raise InvalidSettings(path, [Problem(0, key, f"a certificate of the feed {known.feed} too")])
    return list(found.values())


def expected_feeds(cap: CapSection) -> list[Feed]:
    """Return the feeds that must be heard at intervals."""
    feeds = []
    for feed in cap.feeds:
        if feed.quiet_minutes is not None:
            agent, _, device = feed.alarm.partition("/")
            feeds.append(Feed(feed.name, timedelta(minutes=feed.quiet_minutes), (agent, device) if agent else None))
    return feeds


def judge_signers(cap: CapSection, now: datetime) -> tuple[Literal["ok", "degraded", "down"], str]:
    """Return how long alerts of each feed can be verified, as `check` tells it; blocks on the disk. Raises `InvalidSettings`."""
    ends: dict[str, datetime] = {}
    for signer in trusted_signers(cap):
        end = signer.certificate.not_valid_after_utc
        ends[signer.feed] = max(end, ends.get(signer.feed, end))
    told = "; ".join(f"{feed}: signed until {end:%Y-%m-%d}" for feed, end in ends.items())
    if any(end <= now for end in ends.values()):
        return "down", f"{told}; ask the source for its new certificate: until then its alerts are refused"
    if any(end <= now + SOON for end in ends.values()):
        return "degraded", f"{told}; ask the source for its next certificate and add it"
    return "ok", told


def _read(feed: str, path: Path, key: str) -> list[Signer]:
    try:
        return read_signers(feed, path)
    except OSError as error:
        raise InvalidSettings(path, [Problem(0, key, error.strerror or str(error))]) from None
    except ValueError as error:
        raise InvalidSettings(path, [Problem(0, key, str(error))]) from None
