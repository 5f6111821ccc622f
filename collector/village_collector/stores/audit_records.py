"""The audit log in the control store: one chain, whatever the number of collectors that write to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, false, func, insert, or_, select

from village_collector.stores.audit_tables import audit_entries, audit_seals
from village_collector.stores.command_records import CommandRecord, record_of
from village_collector.stores.database import Database
from village_collector.stores.merging import chunks
from village_collector.stores.tables import command_results, commands
from village_wire.areas import prefix
from village_wire.audit import SEAL_EVERY, START, Act, Head, InvalidEntry, Link, Seal, hash_of, link, read_entry

#: The answers of larger commands are told as numbers that the command's own row holds: counting them would take too long.
_COUNTED_ANSWERS = 200

Sign = Callable[[Head], Seal]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; None does not limit. `until` is exclusive; `actions` are beginnings, as `door.`; an entry is in one of `areas`."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    outcome: str | None = None
    target: str | None = None
    area: str | None = None
    areas: tuple[str, ...] | None = None


class Appended(NamedTuple):
    """The chain's end after entries were added, the new seals, and whether the chain had been tampered with before."""

    head: Head
    seals: tuple[Seal, ...]
    contradiction: bool


class StoredEntry(NamedTuple):
    """A row as it stands. `number` and `hash` are columns; `misfiled`: the columns for searching don't fit the text."""

    number: int
    text: str
    hash: str
    misfiled: bool


class CommandOutcome(NamedTuple):
    """What became of a command: the command and the number of its answers by outcome; none are counted for very large ones."""

    record: CommandRecord
    outcomes: dict[str, int]


class AuditRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_audit(self, acts: Sequence[Act], sign: Sign | None, known: Head | None = None) -> Appended:
        """Continue the chain by entries of acts (see `cleaned`), sealed after every `SEAL_EVERY`; on disk on return.

        `known` is the end of the chain that the caller remembers. Where the database has another entry there, or none, a seal over what
        the caller remembers is added: it contradicts what was tampered with.
        """

        def work(connection: Connection) -> Appended:
            before = _head(connection)
            seals: list[Seal] = []
            contradicted = known is not None and not _holds(connection, before, known)
            if contradicted and known is not None and sign is not None:
                seals.extend(_add_seal(connection, sign(known)))
            sealed = _last_seal(connection)
            if sign is not None and before.number - sealed >= SEAL_EVERY:
                # Written by a program without the key.
                seals.extend(_add_seal(connection, sign(before)))
                sealed = before.number
            links: list[Link] = []
            head = before
            for act in acts:
                new = link(head, act)
                links.append(new)
                head = new.head
            if links:
                connection.execute(
                    insert(audit_entries), [_row(new, act) for new, act in zip(links, acts, strict=True)]
                )
            for new in links if sign is not None else ():
                if sign is not None and new.number - sealed >= SEAL_EVERY:
                    seals.extend(_add_seal(connection, sign(new.head)))
                    sealed = new.number
            return Appended(head, tuple(seals), contradicted)

        return self._database.write(work)

    def seal_audit(self, sign: Sign, known: Head | None = None) -> Appended:
        """Seal the chain's end if it is not sealed; `known` as for `add_audit`."""

        def work(connection: Connection) -> Appended:
            head = _head(connection)
            seals: list[Seal] = []
            contradicted = known is not None and not _holds(connection, head, known)
            if contradicted and known is not None:
                seals.extend(_add_seal(connection, sign(known)))
            if head.number > _last_seal(connection):
                seals.extend(_add_seal(connection, sign(head)))
            return Appended(head, tuple(seals), contradicted)

        return self._database.write(work)

    def restore_seal(self, seal: Seal) -> bool:
        """Put a seal back that must be there; return whether it, or what it seals, was gone."""

        def work(connection: Connection) -> bool:
            gone = bool(_add_seal(connection, seal))
            return gone or _entry_hash(connection, seal.number) != seal.hash

        return self._database.write(work)

    def audit_entries(self, after: int, limit: int) -> list[StoredEntry]:
        """Entries as they stand, with a number greater than `after`, in order."""
        query = select(audit_entries).where(audit_entries.c.number > after).order_by(audit_entries.c.number)
        with self._database.read() as connection:
            return [_stored(row) for row in connection.execute(query.limit(limit))]

    def audit_seals(self, after: int, limit: int) -> tuple[list[Seal], int]:
        """Seals with a number greater than `after`, in order, and the number of the last seal of all (0 without any)."""
        columns = (audit_seals.c.number, audit_seals.c.time, audit_seals.c.hash, audit_seals.c.signature)
        query = select(*columns).where(audit_seals.c.number > after).order_by(audit_seals.c.number).limit(limit)
        with self._database.read() as connection:
            return [Seal._make(row) for row in connection.execute(query)], _last_seal(connection)

    def audit(
        self, wanted: AuditFilter, limit: int, after: int | None = None, before: int | None = None
    ) -> list[tuple[int, str]]:
        """Numbers and texts of entries: the newest first, those before a number if given; with `after` in order, those after that number."""
        query = _filtered(wanted).limit(limit)
        if before is not None:
            query = query.where(audit_entries.c.number < before)
        if after is None:
            query = query.order_by(audit_entries.c.number.desc())
        else:
            query = query.where(audit_entries.c.number > after).order_by(audit_entries.c.number)
        with self._database.read() as connection:
            return [(row.number, row.entry) for row in connection.execute(query)]

    def command_outcomes(self, ids: Sequence[str]) -> Mapping[str, CommandOutcome]:
        """What became of commands, by id, as far as they are still kept."""
        found: dict[str, CommandOutcome] = {}
        with self._database.read() as connection:
            for part in chunks(ids):
                for row in connection.execute(select(commands).where(commands.c.id.in_(part))):
                    found[row.id] = CommandOutcome(record_of(row), {})
            small = [one for one, outcome in found.items() if outcome.record.progress.expected <= _COUNTED_ANSWERS]
            for part in chunks(small):
                counts = (
                    select(command_results.c.command, command_results.c.outcome, func.count())
                    .where(command_results.c.command.in_(part), command_results.c.outcome.is_not(None))
                    .group_by(command_results.c.command, command_results.c.outcome)
                )
                for command, outcome, count in connection.execute(counts):
                    found[command].outcomes[outcome] = count
        return found


def _head(connection: Connection) -> Head:
    columns = (audit_entries.c.number, audit_entries.c.entry)
    row = connection.execute(select(*columns).order_by(audit_entries.c.number.desc()).limit(1)).one_or_none()
    return START if row is None else Head(row.number, hash_of(row.entry))


def _holds(connection: Connection, head: Head, known: Head) -> bool:
    if known.number == head.number:
        return known == head
    return known == START or _entry_hash(connection, known.number) == known.hash


def _entry_hash(connection: Connection, number: int) -> str | None:
    text = connection.scalar(select(audit_entries.c.entry).where(audit_entries.c.number == number))
    return None if text is None else hash_of(text)


def _last_seal(connection: Connection) -> int:
    return connection.scalar(select(func.max(audit_seals.c.number))) or 0


def _add_seal(connection: Connection, seal: Seal) -> tuple[Seal, ...]:
    # Another seal of that number stays: if it is forged, that shows by its signature.
    known = connection.execute(select(audit_seals.c.number).where(audit_seals.c.number == seal.number)).one_or_none()
    if known is not None:
        return ()
    connection.execute(insert(audit_seals).values(**seal._asdict()))
    return (seal,)


def _row(new: Link, act: Act) -> dict[str, Any]:
    return {"number": new.number, "entry": new.text, "hash": new.hash, **_columns(act)}


def _columns(act: Act) -> dict[str, Any]:
    return {
        "time": act.time,
        "actor": act.actor,
        "action": act.action,
        "target": act.target,
        "area": act.area,
        "outcome": act.outcome,
    }


def _stored(row: Row[Any]) -> StoredEntry:
    try:
        entry = read_entry(row.entry)
    except InvalidEntry:
        # What the text is worth is for whoever verifies it.
        return StoredEntry(row.number, row.entry, row.hash, misfiled=False)
    misfiled = any(getattr(row, name) != value for name, value in _columns(entry.act).items())
    return StoredEntry(row.number, row.entry, row.hash, misfiled)


def _filtered(wanted: AuditFilter) -> Select[Any]:
    columns = audit_entries.c
    query = select(columns.number, columns.entry)
    exact = {columns.actor: wanted.actor, columns.outcome: wanted.outcome, columns.target: wanted.target}
    for column, value in exact.items():
        if value is not None:
            query = query.where(column == value)
    if wanted.action is not None:
        # `door.` names all acts at doors.
        by_group = columns.action.startswith(wanted.action, autoescape=True)
        query = query.where(by_group if wanted.action.endswith(".") else columns.action == wanted.action)
    if wanted.area is not None:
        query = query.where(columns.area.startswith(prefix(wanted.area)))
    if wanted.areas is not None:
        query = query.where(or_(false(), *(columns.area.startswith(prefix(area)) for area in wanted.areas)))
    if wanted.since is not None:
        query = query.where(columns.time >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.time < wanted.until)
    return query
