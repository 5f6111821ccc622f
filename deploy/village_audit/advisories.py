"""Known vulnerabilities, from records in the OSV format (https://ossf.github.io/osv-schema/), one JSON file each. No I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from village_audit.lock import Locked


class Advisory(NamedTuple):
    """A known vulnerability of a locked package."""

    id: str
    name: str
    version: Version
    fixed: str
    summary: str

    def __str__(self) -> str:
        cure = f"mended in {self.fixed}" if self.fixed else "no version without it is known"
        return f"{self.name} {self.version}: {self.id} ({cure}) {self.summary}"


def find(record: Mapping[str, Any], locked: Iterable[Locked]) -> list[Advisory]:
    """Return what a record says about locked versions. Raises `KeyError`, `TypeError` or `AttributeError` for what is no record."""
    if "withdrawn" in record:
        return []
    found = []
    versions = {one.name: one.version for one in locked}
    for affected in record.get("affected", []):
        package = affected["package"]
        name = canonicalize_name(str(package["name"]))
        if package["ecosystem"] != "PyPI" or name not in versions:
            continue
        version = versions[name]
        listed = any(_version(text) == version for text in affected.get("versions", []))
        ranges = [one for one in affected.get("ranges", []) if one["type"] in {"ECOSYSTEM", "SEMVER"}]
        if listed or any(_within(version, one["events"]) for one in ranges):
            summary = str(record.get("summary") or record.get("details", ""))
            first_line = summary.strip().partition("\n")[0][:160]
            found.append(Advisory(str(record["id"]), name, version, _cure(version, ranges), first_line))
    return found


def _within(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    # The events are a history: each changes what holds from its version on.
    history = []
    for event in events:
        for kind, text in event.items():
            at = Version("0.dev0") if text == "0" else _version(text)
            if at is not None and kind in {"introduced", "fixed", "last_affected"}:
                history.append((at, kind))
    affected = False
    for at, kind in sorted(history, key=lambda entry: entry[0]):
        if kind == "introduced" and version >= at:
            affected = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            affected = False
    return affected


def _cure(version: Version, ranges: Iterable[Mapping[str, Any]]) -> str:
    fixed = [_version(event["fixed"]) for one in ranges for event in one["events"] if "fixed" in event]
    later = [one for one in fixed if one is not None and one > version]
    return str(min(later)) if later else ""


def _version(text: str) -> Version | None:
    with contextlib.suppress(InvalidVersion):
        return Version(text)
    return None
