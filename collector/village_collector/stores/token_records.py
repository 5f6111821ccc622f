"""Tokens of people in the control store: sessions of a login, and tokens for programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import Connection, Row, delete, insert, select, update

from village_collector.people.rights import Grant, Role
from village_collector.stores.database import Database
from village_collector.stores.people_records import use_totp_step
from village_collector.stores.people_tables import grants, persons, tokens

TokenKind = Literal["session", "api"]


class TooManyTokens(Exception):
    """The person has as many tokens as anybody may have."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token without its secret. `grants` narrows what its person may do; None does not."""

    id: str
    person: str
    kind: TokenKind
    label: str
    grants: tuple[Grant, ...] | None
    created: datetime
    expires: datetime
    last_used: datetime | None = None


class ShownToken(NamedTuple):
    """A valid token, with its person's present grants."""

    token: TokenRecord
    grants: tuple[Grant, ...]


class TokenRecords:
    """All methods raise `StoreUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_token(
        self, token: TokenRecord, digest: str, limit: int, *, step: int | None = None, password: str | None = None
    ) -> bool:
        """Keep a new token; expired ones of everybody are forgotten, and of sessions beyond `limit` the oldest.

        `step` is that of the second factor that was shown, `password` the hash that a login was compared with.

        Returns:
            False if the step was used before, or the person was disabled or changed the password meanwhile.

        Raises:
            TooManyTokens: the person has `limit` API tokens.
        """
        kept = None if token.grants is None else {"grants": [[grant.role, grant.area] for grant in token.grants]}
        row = {
            "id": token.id,
            "digest": digest,
            "person": token.person,
            "kind": token.kind,
            "label": token.label,
            "grants": kept,
            "created": token.created,
            "expires": token.expires,
        }
        same_kind = (tokens.c.person == token.person) & (tokens.c.kind == token.kind)

        def work(connection: Connection) -> bool:
            known = connection.execute(select(persons).where(persons.c.person == token.person)).one_or_none()
            if known is None or known.disabled or (password is not None and known.password != password):
                return False
            if step is not None and not use_totp_step(connection, token.person, step):
                return False
            connection.execute(delete(tokens).where(tokens.c.expires <= token.created))
            present = connection.scalars(
                select(tokens.c.id).where(same_kind).order_by(tokens.c.created.desc(), tokens.c.id)
            ).all()
            if len(present) >= limit:
                if token.kind == "api":
                    raise TooManyTokens
                connection.execute(delete(tokens).where(tokens.c.id.in_(present[limit - 1 :])))
            connection.execute(insert(tokens).values(row))
            return True

        return self._database.write(work)

    def shown_token(self, digest: str, now: datetime) -> ShownToken | None:
        """The token of this digest with its person's grants; None if it is unknown or expired, or its person disabled."""
        query = (
            select(tokens, grants.c.role, grants.c.area)
            .join(persons, persons.c.person == tokens.c.person)
            .outerjoin(grants, grants.c.person == tokens.c.person)
            .where(tokens.c.digest == digest, tokens.c.expires > now, persons.c.disabled.is_(False))
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return None
        held = sorted(Grant(cast("Role", row.role), row.area) for row in rows if row.role is not None)
        return ShownToken(_token(rows[0]), tuple(held))

    def tokens(self, person: str, now: datetime) -> list[TokenRecord]:
        """The valid tokens of a person, the newest first."""
        query = select(tokens).where(tokens.c.person == person, tokens.c.expires > now)
        with self._database.read() as connection:
            return [_token(row) for row in connection.execute(query.order_by(tokens.c.created.desc(), tokens.c.id))]

    def token(self, token: str) -> TokenRecord | None:
        """One token by its id."""
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == token)).one_or_none()
        return None if row is None else _token(row)

    def remove_token(self, token: str) -> None:
        """End a token."""
        self._database.write(lambda connection: connection.execute(delete(tokens).where(tokens.c.id == token)))

    def touch_token(self, token: str, used: datetime) -> None:
        """Note when a token was last used."""
        change = update(tokens).where(tokens.c.id == token).values(last_used=used)
        self._database.write(lambda connection: connection.execute(change))


def _token(row: Row[Any]) -> TokenRecord:
    narrowed = None if row.grants is None else tuple(Grant(role, area) for role, area in row.grants["grants"])
    return TokenRecord(row.id, row.person, row.kind, row.label, narrowed, row.created, row.expires, row.last_used)
