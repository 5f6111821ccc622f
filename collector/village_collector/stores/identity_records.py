"""Who may connect: enrolment tokens are given and used, certificates recorded and revoked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from village_collector.stores.counting import count_up, set_counter
from village_collector.stores.identity_reads import KEYS_TOLD, TRUST, IdentityReads
from village_collector.stores.identity_tables import certificates, enrolments, identities
from village_collector.stores.tables import agents
from village_collector.trust.authority import Issued
from village_wire.areas import contains

#: For so long after its end a token is called expired, and not unknown, and the box that used it can be named.
_TOKENS_KEPT = timedelta(days=30)
#: A certificate that ended is of no use to anybody; its issue stays in the audit log.
_CERTIFICATES_KEPT = timedelta(days=30)


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


class IdentityRecords(IdentityReads):
    """All methods raise `StoreUnavailable`."""

    def add_enrolment(self, digest: str, agent: str, area: str, by: str, now: datetime, expires: datetime) -> None:
        """Keep a token by the SHA-256 of its secret (hexadecimal); earlier ones of the agent that nobody used are withdrawn."""

        def work(connection: Connection) -> None:
            connection.execute(delete(enrolments).where(enrolments.c.expires < now - _TOKENS_KEPT))
            _withdraw_tokens(connection, agent)
            row = {"digest": digest, "agent": agent, "area": area, "created": now, "expires": expires, "by": by}
            connection.execute(insert(enrolments).values(row))
            count_up(connection, TRUST)

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
            count_up(connection, TRUST)
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
            count_up(connection, TRUST)
            return Enrolled(owner.agent, owner.area, issued.pem, repeated=False)

        return self._database.write(work)

    def record_certificate(self, issued: Issued, now: datetime) -> None:
        """Keep a certificate of a collector or server."""

        def work(connection: Connection) -> None:
            _insert_certificate(connection, issued, now)
            count_up(connection, TRUST)

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
                count_up(connection, TRUST)
            return revoked > 0

        return self._database.write(work)

    def note_keys_told(self, number: int) -> None:
        """Keep that number."""
        self._database.write(lambda connection: set_counter(connection, KEYS_TOLD, number))


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
