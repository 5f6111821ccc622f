"""Who may connect: enrolment tokens, agents with certificates, and every certificate that was issued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from village_collector.stores.database import Database
from village_collector.stores.identity_tables import certificates, enrolments, identities
from village_collector.stores.tables import agents, counters
from village_collector.trust.authority import COLLECTOR_PREFIX, Issued
from village_wire.areas import contains

#: For so long after its end a token is called expired, and not unknown, and the box that used it can be named.
_TOKENS_KEPT = timedelta(days=30)
#: A certificate that ended is of no use to anybody; its issue stays in the audit log.
_CERTIFICATES_KEPT = timedelta(days=30)
#: The clock of a broker that judges a certificate may be late; only after this a revoked one that ended leaves the list.
_CLOCKS_APART = timedelta(days=1)
#: Older SQLite takes 999 variables in a statement.
_AT_ONCE = 500
_TRUST, _KEYS_TOLD = "trust", "keys_told"


class EnrolmentRefused(Exception):
    """A token or certificate that gives nothing; the text is the reason. `agent` and `area` are empty where they are not known."""

    def __init__(self, reason: str, agent: str = "", area: str = "") -> None:
        super().__init__(reason)
        self.agent = agent
        self.area = area


class UnknownToken(EnrolmentRefused):
    """Nobody was ever given this token, or it was withdrawn: whoever shows it may be guessing."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An agent and its certificate (PEM). `repeated`: it had been given before, and the answer was lost."""

    agent: str
    area: str
    certificate: str
    repeated: bool


class Identity(NamedTuple):
    """An agent that has a certificate, had one, or may get one by a token.

    `enrolled` is when it first got one, `expires` the end of its newest, `token_expires` that of a token that is not used yet.
    """

    agent: str
    area: str
    enrolled: datetime | None = None
    revoked: datetime | None = None
    expires: datetime | None = None
    token_expires: datetime | None = None


class IdentityRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_enrolment(self, digest: str, agent: str, area: str, by: str, now: datetime, expires: datetime) -> None:
        """Keep a token by the SHA-256 of its secret (hexadecimal); earlier ones of the agent that nobody used are withdrawn."""

        def work(connection: Connection) -> None:
            connection.execute(delete(enrolments).where(enrolments.c.expires < now - _TOKENS_KEPT))
            _withdraw_tokens(connection, agent)
            row = {"digest": digest, "agent": agent, "area": area, "created": now, "expires": expires, "by": by}
            connection.execute(insert(enrolments).values(row))
            _count_change(connection)

        self._database.write(work)

    def use_enrolment(self, digest: str, key: str, now: datetime, issue: Callable[[str], Issued]) -> Enrolled:
        """Give the agent of a token its certificate: mark the token, record what `issue(agent)` returns and revoke its earlier ones.

        `key` is the `key_digest` of the key that asks. The key that used a token before gets the same certificate again.

        Raises:
            UnknownToken: no such token.
            EnrolmentRefused: it expired, another key used it, or the agent was revoked since.
        """

        def work(connection: Connection) -> Enrolled:
            token = connection.execute(select(enrolments).where(enrolments.c.digest == digest)).one_or_none()
            if token is None:
                raise UnknownToken("unknown token")
            agent, area = token.agent, token.area
            if token.expires <= now:
                raise EnrolmentRefused("the token expired", agent, area)
            if token.used is not None:
                return _given_before(connection, token, key)
            if _is_known(connection, agent):
                again = update(identities).where(identities.c.agent == agent)
                connection.execute(again.values(area=area, revoked=None))
            else:
                connection.execute(insert(identities).values(agent=agent, area=area, added=now))
            # The inventory of a box that moved comes later.
            connection.execute(update(agents).where(agents.c.agent == agent).values(area=area))
            connection.execute(update(enrolments).where(enrolments.c.digest == digest).values(used=now, key=key))
            _revoke_certificates(connection, agent, now)
            issued = issue(agent)
            _insert_certificate(connection, issued, now)
            _count_change(connection)
            return Enrolled(agent, area, issued.pem, repeated=False)

        return self._database.write(work)

    def renew(self, serial: str, key: str, now: datetime, issue: Callable[[str], Issued]) -> Enrolled:
        """Give the agent of a live certificate its next one, for the key with this `key_digest`.

        Then that certificate and the new one count, and no other of the agent: the answer may get lost, and the old one asks again.
        If the key has a newer certificate already, that is the answer.

        Raises:
            EnrolmentRefused: the certificate is unknown, revoked or expired, or the agent is revoked.
        """

        def work(connection: Connection) -> Enrolled:
            present = connection.execute(select(certificates).where(certificates.c.serial == serial)).one_or_none()
            if present is None:
                raise EnrolmentRefused("this collector's records don't hold the certificate")
            owner = connection.execute(select(identities).where(identities.c.agent == present.subject)).one_or_none()
            if owner is None:
                raise EnrolmentRefused("the certificate is not an agent's")
            if present.revoked is not None or owner.revoked is not None:
                raise EnrolmentRefused("the certificate is revoked", owner.agent, owner.area)
            if present.expires <= now:
                raise EnrolmentRefused("the certificate expired", owner.agent, owner.area)
            known = _certificate_of(connection, owner.agent, key, but=serial)
            if known is not None and known.issued >= present.issued:
                return Enrolled(owner.agent, owner.area, known.pem, repeated=True)
            _revoke_certificates(connection, owner.agent, now, but=serial)
            issued = issue(owner.agent)
            _insert_certificate(connection, issued, now)
            _count_change(connection)
            return Enrolled(owner.agent, owner.area, issued.pem, repeated=False)

        return self._database.write(work)

    def record_certificate(self, issued: Issued, now: datetime) -> None:
        """Keep a certificate of a collector or server."""

        def work(connection: Connection) -> None:
            _insert_certificate(connection, issued, now)
            _count_change(connection)

        self._database.write(work)

    def revoke(self, agent: str, now: datetime, area: str = "") -> bool:
        """Take an agent its certificates and tokens; return whether there was anything to take.

        With `area` also an agent that never had a certificate is remembered as revoked, so that nothing of it is taken any more.
        """

        def work(connection: Connection) -> bool:
            live = (identities.c.agent == agent) & identities.c.revoked.is_(None)
            revoked = connection.execute(update(identities).where(live).values(revoked=now)).rowcount
            if area and not revoked and not _is_known(connection, agent):
                connection.execute(insert(identities).values(agent=agent, area=area, added=now, revoked=now))
                revoked = 1
            revoked += _revoke_certificates(connection, agent, now)
            revoked += _withdraw_tokens(connection, agent)
            if revoked:
                _count_change(connection)
            return revoked > 0

        return self._database.write(work)

    def active_agents(self) -> Sequence[tuple[str, str]]:
        """Agents that may connect, each with its area, by name."""
        query = select(identities.c.agent, identities.c.area).where(identities.c.revoked.is_(None))
        with self._database.read() as connection:
            return [(row.agent, row.area) for row in connection.execute(query.order_by(identities.c.agent))]

    def revoked_agents(self) -> frozenset[str]:
        """Agents that were declared lost."""
        query = select(identities.c.agent).where(identities.c.revoked.is_not(None))
        with self._database.read() as connection:
            return frozenset(connection.scalars(query))

    def collector_subjects(self) -> Sequence[str]:
        """Names of collectors that have a certificate, in order."""
        subject = certificates.c.subject
        query = select(subject).where(
            subject.startswith(COLLECTOR_PREFIX, autoescape=True), certificates.c.revoked.is_(None)
        )
        with self._database.read() as connection:
            return list(connection.scalars(query.distinct().order_by(subject)))

    def revoked_certificates(self, now: datetime | None = None) -> Sequence[tuple[str, datetime]]:
        """Serial number and time of revocation of each certificate that is revoked and would still be good, by serial number."""
        ended = (now or datetime.now(UTC)) - _CLOCKS_APART
        query = select(certificates.c.serial, certificates.c.revoked).where(
            certificates.c.revoked.is_not(None), certificates.c.expires > ended
        )
        with self._database.read() as connection:
            return [(row.serial, row.revoked) for row in connection.execute(query.order_by(certificates.c.serial))]

    def certificate_names(self, serials: Iterable[str]) -> Mapping[str, str]:
        """Whose certificates these are, by serial number; those that are not on record are left out."""
        found: dict[str, str] = {}
        query = select(certificates.c.serial, certificates.c.subject)
        wanted = list(serials)
        with self._database.read() as connection:
            for start in range(0, len(wanted), _AT_ONCE):
                part = certificates.c.serial.in_(wanted[start : start + _AT_ONCE])
                found |= {row.serial: row.subject for row in connection.execute(query.where(part))}
        return found

    def trust_revision(self) -> int:
        """A number that grows with each change of any of this; reading it costs one row."""
        with self._database.read() as connection:
            return connection.scalar(select(counters.c.value).where(counters.c.name == _TRUST)) or 0

    def connected_agents(self) -> Sequence[str]:
        """Agents that are connected as far as is known, by name."""
        query = select(agents.c.agent).where(agents.c.online.is_(True)).order_by(agents.c.agent)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def keys_told(self) -> int:
        """Number of the document of command keys that all connected agents were told last; 1 at first."""
        with self._database.read() as connection:
            return connection.scalar(select(counters.c.value).where(counters.c.name == _KEYS_TOLD)) or 1

    def note_keys_told(self, number: int) -> None:
        """Keep that number."""
        self._database.write(lambda connection: _set_counter(connection, _KEYS_TOLD, number))

    def known_identities(self, now: datetime, agent: str | None = None) -> dict[str, Identity]:
        """All agents that have or may get a certificate, or one of them, by name."""
        newest = (
            select(certificates.c.subject, func.max(certificates.c.expires).label("expires"))
            .where(certificates.c.revoked.is_(None))
            .group_by(certificates.c.subject)
            .subquery()
        )
        known = select(
            identities.c.agent, identities.c.area, identities.c.added, identities.c.revoked, newest.c.expires
        ).outerjoin(newest, newest.c.subject == identities.c.agent)
        pending = select(enrolments.c.agent, enrolments.c.area, enrolments.c.expires).where(
            enrolments.c.used.is_(None), enrolments.c.expires > now
        )
        if agent is not None:
            known = known.where(identities.c.agent == agent)
            pending = pending.where(enrolments.c.agent == agent)
        with self._database.read() as connection:
            found = {row.agent: Identity(*row) for row in connection.execute(known)}
            for name, area, expires in connection.execute(pending):
                found[name] = found.get(name, Identity(name, area))._replace(token_expires=expires)
        return found


def area_of(connection: Connection, agent: str, told: str) -> str:
    """Return where an agent is that says `told`: within the area for which it has its certificate, it may say so more exactly.

    Whoever may see and command it follows from this, and a box in wrong hands says what it likes.
    """
    enrolled = connection.scalar(select(identities.c.area).where(identities.c.agent == agent))
    return told if enrolled is None or contains(enrolled, told) else enrolled


def _is_known(connection: Connection, agent: str) -> bool:
    return connection.scalar(select(identities.c.agent).where(identities.c.agent == agent)) is not None


def _given_before(connection: Connection, token: Row[Any], key: str) -> Enrolled:
    if token.key != key:
        raise EnrolmentRefused("the token was used before, by another box", token.agent, token.area)
    known = _certificate_of(connection, token.agent, key)
    if known is None:
        raise EnrolmentRefused("the certificate that the token gave is revoked", token.agent, token.area)
    return Enrolled(token.agent, token.area, known.pem, repeated=True)


def _certificate_of(connection: Connection, subject: str, key: str, but: str = "") -> Row[Any] | None:
    query = select(certificates).where(
        certificates.c.subject == subject,
        certificates.c.key == key,
        certificates.c.revoked.is_(None),
        certificates.c.serial != but,
    )
    return connection.execute(query.order_by(certificates.c.issued.desc()).limit(1)).one_or_none()


def _insert_certificate(connection: Connection, issued: Issued, now: datetime) -> None:
    connection.execute(delete(certificates).where(certificates.c.expires < now - _CERTIFICATES_KEPT))
    connection.execute(
        insert(certificates).values(
            serial=issued.serial,
            subject=issued.subject,
            key=issued.key_digest,
            pem=issued.pem,
            issued=now,
            expires=issued.not_after,
        )
    )


def _revoke_certificates(connection: Connection, subject: str, now: datetime, but: str = "") -> int:
    live = (certificates.c.subject == subject) & certificates.c.revoked.is_(None) & (certificates.c.serial != but)
    return connection.execute(update(certificates).where(live).values(revoked=now)).rowcount


def _withdraw_tokens(connection: Connection, agent: str) -> int:
    unused = (enrolments.c.agent == agent) & enrolments.c.used.is_(None)
    return connection.execute(delete(enrolments).where(unused)).rowcount


def _count_change(connection: Connection) -> None:
    _set_counter(connection, _TRUST, counters.c.value + 1, 1)


def _set_counter(connection: Connection, name: str, value: Any, first: int | None = None) -> None:
    change = update(counters).where(counters.c.name == name).values(value=value)
    if connection.execute(change).rowcount == 0:
        connection.execute(insert(counters).values(name=name, value=value if first is None else first))
