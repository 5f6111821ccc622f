"""Tables of people, their roles, and what they show to be known."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from village_collector.stores.columns import JsonObject, Time, Words, metadata

#: People. `password` is an argon2 hash, None until one is set; `password_until` is the end of an initial password, None for one that its
#: person chose; `totp` is the base32 secret of a second factor, `totp_step` the last step used.
persons = Table(
    "persons",
    metadata,
    Column("person", Text, primary_key=True),
    Column("created", Time, nullable=False),
    Column("password", Text),
    Column("password_until", Time),
    Column("totp", Text),
    Column("totp_step", BigInteger),
    Column("disabled", Boolean, nullable=False, default=False),
)

#: Roles within areas; `area` "" is everywhere.
grants = Table(
    "grants",
    metadata,
    Column("person", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("area", Text, primary_key=True),
)

#: What people show to be known: sessions of a login, and tokens for programs. `digest` is the SHA-256 of the secret; `grants`
#: (`{"grants": [[role, area], …]}`) narrows what the person may do.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("person", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Words, nullable=False, default=""),
    Column("grants", JsonObject),
    Column("created", Time, nullable=False),
    Column("expires", Time, nullable=False),
    Column("last_used", Time),
)
Index("tokens_by_person", tokens.c.person)
