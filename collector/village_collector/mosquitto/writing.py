"""Puts on disk what mosquitto reads, when it says something else than what is there. Blocks: call it in a thread.

A list of revoked certificates also names one that exists for no other purpose, the marker: once mosquitto refuses it, it has read this
list and the rules that were written before it.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from village_collector.data_dir import write_atomically
from village_collector.mosquitto.files import AUTHORITY, CERTIFICATE, KEY, REVOKED, RULES, access_rules
from village_collector.own_certificate import Pair, Shown, find_own, read_certificate, shown
from village_collector.trust.authority import BACKDATED, Authority

_MARKER = b"village-edge marker of a list 1\n"
#: mosquitto keeps each list that it reads and goes by the latest; lists tell whole seconds.
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Trusted:
    """Who may connect: agents with their areas, collectors by the names in their certificates, and what was revoked (serial number, time).

    `names` are those of the broker, for its certificate.
    """

    agents: Mapping[str, str]
    collectors: Sequence[str]
    revoked: Sequence[tuple[str, datetime]]
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Files:
    """What is on disk. `changed` are the names of the files that were written, `marker` is the serial number of the list's marker.

    `due` is when the broker's certificate is to be renewed.
    """

    changed: frozenset[str]
    marker: int
    due: datetime


def write_files(folder: Path, authority: Authority, trusted: Trusted, now: datetime) -> Files:
    """Write what differs; the folder exists. Each file is whole at any moment, and the list comes after the rules.

    Raises:
        OSError: a file can't be written.
        ValueError: a name can't stand in the rules or in a certificate, or the authority ended.
    """
    changed: set[str] = set()

    def put(name: str, content: bytes, mode: int = 0o644) -> None:
        if not _is(folder / name, content, mode):
            write_atomically(folder / name, content, mode)
            changed.add(name)

    put(AUTHORITY, authority.certificate_pem.encode())
    due = certificate_due(folder, authority, trusted.names, now)
    if due is None:
        issued = authority.issue_server(trusted.names, now)
        put(KEY, (issued.key_pem or "").encode(), key_mode(folder))
        put(CERTIFICATE, issued.pem.encode())
        due = Shown("", (), issued.not_before, issued.not_after).due
    rules = access_rules(trusted.agents, trusted.collectors)
    put(RULES, rules.encode())
    marker = marker_of(rules, (serial for serial, _ in trusted.revoked))
    listed = {int(serial, 16) for serial, _ in trusted.revoked} | {marker}
    present = read_list(folder, authority)
    if present is None or {entry.serial_number for entry in present} != listed:
        entries = [*trusted.revoked, (f"{marker:x}", now)]
        put(REVOKED, authority.crl(entries, _later(present, now)))
    return Files(frozenset(changed), marker, due)


def broker_names(folder: Path, *others: str) -> tuple[str, ...]:
    """Return the names of a broker on this machine: those given, and those that its present certificate has (`setup --name`)."""
    try:
        kept = shown(read_certificate(folder / CERTIFICATE)).names
    except (OSError, ValueError):
        kept = ()
    return tuple(dict.fromkeys(name for name in ("localhost", "127.0.0.1", "::1", *others, *kept) if name))


def names(folder: Path, user: str) -> bool:
    """Tell whether the rules on disk name a user."""
    try:
        return f"\nuser {user}\n" in (folder / RULES).read_text()
    except (OSError, ValueError):
        return False


def certificate_due(folder: Path, authority: Authority, names: Sequence[str], now: datetime) -> datetime | None:
    """Return when the broker's certificate is to be renewed, or None if that is now or there is none that will do."""
    found = find_own(Pair(folder / CERTIFICATE, folder / KEY), authority, key_mode(folder))
    if found is None or not found.counts(now) or not set(names) <= set(found.names):
        return None
    return found.due


def read_list(folder: Path, authority: Authority) -> x509.CertificateRevocationList | None:
    """Return the list on disk if it is this authority's."""
    try:
        found = x509.load_pem_x509_crl((folder / REVOKED).read_bytes())
        good = found.issuer == authority.certificate.subject and found.is_signature_valid(authority.key.public_key())
    except (OSError, ValueError, TypeError):
        return None
    return found if good else None


def marker_of(rules: str, serials: Iterable[str]) -> int:
    """Return the serial number of the marker in the list that goes with these rules; all collectors find the same."""
    text = "\n".join((rules, *sorted(serials)))
    # Serial numbers are positive and have 20 bytes at most.
    return int.from_bytes(hashlib.sha256(_MARKER + text.encode()).digest()[:19], "big") | 1


def key_mode(folder: Path) -> int:
    """Return the rights for the broker's key: its group may read it where `setup` gave the folder to that group."""
    return 0o640 if folder.stat().st_mode & stat.S_ISGID else 0o600


def _later(present: x509.CertificateRevocationList | None, now: datetime) -> datetime:
    if present is None:
        return now
    # A clock that was put back must not make the broker prefer the old list; one from the future makes it refuse everybody.
    return min(max(now, present.last_update_utc + BACKDATED + _SECOND), now.astimezone(UTC) + BACKDATED)


def _is(path: Path, content: bytes, mode: int) -> bool:
    try:
        status = path.stat()
        return stat.S_IMODE(status.st_mode) == mode and status.st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
