"""What is read of who may connect: agents, collectors, certificates, and what is revoked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from village_collector.stores.counting import read_counter
from village_collector.stores.database import Database
from village_collector.stores.identity_tables import certificates, enrolments, identities
from village_collector.stores.merging import chunks
from village_collector.stores.tables import agents
from village_collector.trust.authority import COLLECTOR_PREFIX

#: The clock of a broker that judges a certificate may be late; only after this a revoked one that ended leaves the list.
_CLOCKS_APART = timedelta(days=1)
#: Names of counters: of changes of all this, and of the document of command keys.
TRUST, KEYS_TOLD = "trust", "keys_told"


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


class IdentityReads:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        with self._database.read() as connection:
            for part in chunks(serials):
                rows = connection.execute(query.where(certificates.c.serial.in_(part)))
                found |= {row.serial: row.subject for row in rows}
        return found

    def trust_revision(self) -> int:
        """A number that grows with each change of any of this; reading it costs one row."""
        with self._database.read() as connection:
            return read_counter(connection, TRUST)

    def connected_agents(self) -> Sequence[str]:
        """Agents that are connected as far as is known, by name."""
        query = select(agents.c.agent).where(agents.c.online.is_(True)).order_by(agents.c.agent)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def keys_told(self) -> int:
        """Number of the document of command keys that all connected agents were told last; 1 at first."""
        with self._database.read() as connection:
            return read_counter(connection, KEYS_TOLD, 1)

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
