"""Persons, their grants, and the tokens that they show, in the control store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from village_collector.people.rights import Grant
from village_collector.stores.database import Database
from village_collector.stores.people_tables import grants, persons, tokens

#: Told the grants of a person who is to be changed; answers whether the change is allowed.
Allowed = Callable[[Sequence[Grant]], bool]


class UnknownPerson(LookupError):
    """No such person, or one whom the caller may not change: which of them is not told."""


class LastAdministrator(Exception):
    """Nobody would be left who may do everything everywhere."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """A person without secrets. `initial_until` is the end of an initial password."""

    person: str
    created: datetime
    disabled: bool
    grants: tuple[Grant, ...]
    has_password: bool
    initial_until: datetime | None
    totp: bool


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a login is compared with. `password` is a hash."""

    password: str | None
    password_until: datetime | None
    totp: str | None
    totp_step: int | None
    disabled: bool


class PeopleRecords:
    """All methods raise `StoreUnavailable`. Where a method takes `allowed`, it is asked in the transaction of the change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def persons(self) -> list[PersonRecord]:
        """All persons by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(persons).order_by(persons.c.person)).all()
            held = _grants(connection)
        return [_person(row, held.get(row.person, ())) for row in rows]

    def person(self, person: str) -> PersonRecord | None:
        """One person; None for an unknown one."""
        with self._database.read() as connection:
            return _read(connection, person)

    def credentials(self, person: str) -> Credentials | None:
        """What a login of this person is compared with."""
        columns = (
            persons.c.password,
            persons.c.password_until,
            persons.c.totp,
            persons.c.totp_step,
            persons.c.disabled,
        )
        with self._database.read() as connection:
            row = connection.execute(select(*columns).where(persons.c.person == person)).one_or_none()
        return None if row is None else Credentials(*row)

    def add_person(
        self,
        person: str,
        created: datetime,
        given: Iterable[Grant],
        password: str | None = None,
        password_until: datetime | None = None,
    ) -> bool:
        """Keep a new person; False if there is one of this name."""
        row = {"person": person, "created": created, "password": password, "password_until": password_until}

        def work(connection: Connection) -> bool:
            if connection.scalar(select(persons.c.person).where(persons.c.person == person)) is not None:
                return False
            connection.execute(insert(persons).values(**row, disabled=False))
            _give(connection, person, given)
            return True

        return self._database.write(work)

    def set_password(
        self,
        person: str,
        password: str,
        until: datetime | None = None,
        *,
        allowed: Allowed = lambda _grants: True,
        before: str | None = None,
        reset: bool = False,
        kept: str = "",
    ) -> PersonRecord:
        """Change a password and end the person's sessions but `kept`. `reset` ends all tokens and takes the second factor away.

        Raises:
            UnknownPerson: there is none, or `allowed` says no, or the password is not `before` any more.
        """
        changes: dict[str, Any] = {"password": password, "password_until": until}
        ended = delete(tokens).where(tokens.c.person == person)
        change = update(persons).where(persons.c.person == person)
        if before is not None:
            change = change.where(persons.c.password == before)
        if reset:
            changes |= {"totp": None, "totp_step": None}
        else:
            ended = ended.where(tokens.c.kind == "session", tokens.c.id != kept)

        change = change.values(changes)

        def work(connection: Connection) -> PersonRecord:
            _guarded(connection, person, allowed)
            if connection.execute(change).rowcount == 0:
                raise UnknownPerson(person)
            connection.execute(ended)
            return _guarded(connection, person)

        return self._database.write(work)

    def set_totp(self, person: str, secret: str | None, step: int | None = None) -> None:
        """Set or take away a second factor; `step` is the last one used."""
        change = update(persons).where(persons.c.person == person).values(totp=secret, totp_step=step)
        self._database.write(lambda connection: connection.execute(change))

    def use_totp_step(self, person: str, step: int) -> bool:
        """Note a step of the second factor as used; False if it, or a later one, was used before."""
        return self._database.write(lambda connection: use_totp_step(connection, person, step))

    def grant(self, person: str, given: Grant, allowed: Allowed) -> PersonRecord:
        """Give a role; raises `UnknownPerson`."""

        def work(connection: Connection) -> PersonRecord:
            _guarded(connection, person, allowed)
            _give(connection, person, [given])
            return _guarded(connection, person)

        return self._database.write(work)

    def revoke_grant(self, person: str, taken: Grant, allowed: Allowed) -> PersonRecord:
        """Take a role away; one that the person does not have changes nothing.

        Raises:
            UnknownPerson: there is none, or `allowed` says no.
            LastAdministrator: nothing was changed.
        """
        mine = (grants.c.person == person) & (grants.c.role == taken.role) & (grants.c.area == taken.area)

        def work(connection: Connection) -> PersonRecord:
            _guarded(connection, person, allowed)
            before = _administrators(connection)
            connection.execute(delete(grants).where(mine))
            _check_administrators(connection, before)
            return _guarded(connection, person)

        return self._database.write(work)

    def set_disabled(self, person: str, disabled: bool, allowed: Allowed) -> PersonRecord:
        """Let a person in no more, and end their sessions, or let them in again.

        Raises:
            UnknownPerson: there is none, or `allowed` says no.
            LastAdministrator: nothing was changed.
        """

        def work(connection: Connection) -> PersonRecord:
            _guarded(connection, person, allowed)
            before = _administrators(connection)
            connection.execute(update(persons).where(persons.c.person == person).values(disabled=disabled))
            if disabled:
                connection.execute(delete(tokens).where(tokens.c.person == person, tokens.c.kind == "session"))
            _check_administrators(connection, before)
            return _guarded(connection, person)

        return self._database.write(work)

    def make_administrator(self, person: str, created: datetime, password: str) -> bool:
        """Add a person who may do everything everywhere, or make this one so; True if new.

        The person has this password then, is enabled, and has neither tokens nor a second factor.
        """
        changes = {"password": password, "password_until": None, "disabled": False, "totp": None, "totp_step": None}

        def work(connection: Connection) -> bool:
            added = connection.execute(update(persons).where(persons.c.person == person).values(changes)).rowcount == 0
            if added:
                connection.execute(insert(persons).values(person=person, created=created, **changes))
            _give(connection, person, [Grant("administrator")])
            connection.execute(delete(tokens).where(tokens.c.person == person))
            return added

        return self._database.write(work)


def _read(connection: Connection, person: str) -> PersonRecord | None:
    row = connection.execute(select(persons).where(persons.c.person == person)).one_or_none()
    return None if row is None else _person(row, _grants(connection, person).get(person, ()))


def _guarded(connection: Connection, person: str, allowed: Allowed = lambda _grants: True) -> PersonRecord:
    found = _read(connection, person)
    if found is None or not allowed(found.grants):
        raise UnknownPerson(person)
    return found


def _grants(connection: Connection, person: str | None = None) -> dict[str, list[Grant]]:
    query = select(grants).order_by(grants.c.person, grants.c.area, grants.c.role)
    if person is not None:
        query = query.where(grants.c.person == person)
    held: defaultdict[str, list[Grant]] = defaultdict(list)
    for row in connection.execute(query):
        held[row.person].append(Grant(row.role, row.area))
    return held


def _give(connection: Connection, person: str, given: Iterable[Grant]) -> None:
    present = set(_grants(connection, person).get(person, ()))
    for grant in set(given) - present:
        connection.execute(insert(grants).values(person=person, role=grant.role, area=grant.area))


def use_totp_step(connection: Connection, person: str, step: int) -> bool:
    """Note a step as used, in the caller's transaction; False if it, or a later one, was used before."""
    unused = persons.c.totp_step.is_(None) | (persons.c.totp_step < step)
    change = update(persons).where(persons.c.person == person, unused).values(totp_step=step)
    return connection.execute(change).rowcount == 1


def _administrators(connection: Connection) -> int:
    """Those who may do everything everywhere and can log in."""
    query = (
        select(func.count())
        .select_from(grants)
        .join(persons, persons.c.person == grants.c.person)
        .where(
            grants.c.role == "administrator",
            grants.c.area == "",
            persons.c.disabled.is_(False),
            persons.c.password.is_not(None),
        )
    )
    return connection.scalar(query) or 0


def _check_administrators(connection: Connection, before: int) -> None:
    if before and not _administrators(connection):
        raise LastAdministrator


def _person(row: Row[Any], held: Iterable[Grant]) -> PersonRecord:
    return PersonRecord(
        row.person,
        row.created,
        row.disabled,
        tuple(held),
        row.password is not None,
        row.password_until,
        row.totp is not None,
    )
