"""What is to be said of the files that mosquitto reads: there, fresh, readable for it and for nobody else, and read."""

from __future__ import annotations

import asyncio
import grp
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509

from village_collector.broker_certificate import own_address
from village_collector.config import Settings
from village_collector.data_dir import DataDirProblem
from village_collector.mosquitto.files import (
    AUTHORITY,
    CERTIFICATE,
    CONFIGURATION,
    GROUP,
    KEY,
    PID,
    REVOKED,
    RULES,
)
from village_collector.mosquitto.passing import has_read
from village_collector.mosquitto.writing import broker_names, certificate_due, marker_of, read_list
from village_collector.trust.authority import Authority, load_authority
from village_wire.address import BrokerAddress, SessionError

Finding = tuple[Literal["ok", "degraded", "down"], str]
_SETUP = "run `village-collector mosquitto setup`"


async def inspect(settings: Settings) -> Finding:
    """Look at the files and, if they are right, ask the broker whether it has read them; `settings.broker.files_dir` is set."""
    folder = settings.broker.files_dir or Path()
    try:
        authority = await asyncio.to_thread(load_authority, settings.collector.keys_folder, make=False)
        found = await asyncio.to_thread(inspect_files, folder, authority, datetime.now(UTC))
        if found[0] != "ok":
            return found
        marker = await asyncio.to_thread(_marker, folder, authority)
        address = await asyncio.to_thread(own_address, settings, settings.broker.url)
    except (DataDirProblem, OSError) as error:
        return "down", str(error)
    return await _ask(address, authority, marker, found[1])


def inspect_files(folder: Path, authority: Authority, now: datetime) -> Finding:
    """Return what is to be said of the files themselves. Blocks; raises `OSError` for a folder that can't be looked into."""
    absent = [name for name in (RULES, REVOKED, AUTHORITY, CERTIFICATE, KEY) if not (folder / name).exists()]
    if absent:
        return "down", f"{folder} has no {', '.join(absent)}: {_SETUP}"
    if read_list(folder, authority) is None or (folder / AUTHORITY).read_text() != authority.certificate_pem:
        return "down", f"{folder} belongs to another authority than this collector's: {_SETUP}"
    ends = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).not_valid_after_utc
    if ends <= now:
        return "down", f"{folder / CERTIFICATE} ended on {ends:%Y-%m-%d}: start the collector, which renews it"
    hidden = _hidden(folder)
    if hidden:
        return "down", hidden
    status = (folder / KEY).stat()
    if status.st_mode & 0o007:
        return "down", f"others may read {folder / KEY} and pass for the broker: chmod o= it"
    if certificate_due(folder, authority, broker_names(folder), now) is None:
        return "degraded", f"{folder / CERTIFICATE} is to be renewed: start the collector, or {_SETUP}"
    return "ok", f"{folder}, certificate until {ends:%Y-%m-%d}"


async def _ask(address: BrokerAddress, authority: Authority, marker: int, files: str) -> Finding:
    if not marker:
        return "degraded", "rules and list of revoked certificates don't belong together: start the collector"
    try:
        read = await has_read(address, authority, marker)
    except (OSError, SessionError):
        # The row of the broker says why.
        return "ok", files
    if read:
        return "ok", f"{files}; the broker has read them"
    return "degraded", f"{files}; the broker has not read them yet: systemctl reload mosquitto"


def _marker(folder: Path, authority: Authority) -> int:
    """Return the marker of the list on disk; 0 if it does not go with the rules."""
    listed = read_list(folder, authority)
    serials = [f"{entry.serial_number:x}" for entry in listed or ()]
    if not serials:
        return 0
    # The marker is the last one written, and the rest is what it was made from.
    *others, last = serials
    expected = marker_of((folder / RULES).read_text(), others)
    return expected if last == f"{expected:x}" else 0


def _hidden(folder: Path) -> str:
    """Say what keeps mosquitto from reading, where it runs as a user of its own; empty if nothing does."""
    configuration = folder / CONFIGURATION
    if configuration.exists() and f"\npid_file {folder / PID}\n" in configuration.read_text():
        return ""
    try:
        group = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return ""
    for path, right in ((folder / KEY, stat.S_IRGRP), (folder, stat.S_IXGRP)):
        status = path.stat()
        if status.st_gid != group or not status.st_mode & right:
            return f"group {GROUP} can't read {path}: {_SETUP} as root"
    for above in folder.absolute().parents:
        status = above.stat()
        if not (status.st_mode & stat.S_IXOTH or (status.st_gid == group and status.st_mode & stat.S_IXGRP)):
            return f"mosquitto can't look into {above}: chmod o+x it, or give another folder (--dir)"
    return ""
