"""Tables of agents that may connect, and of their certificates."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from village_collector.stores.columns import Time, Words, metadata

#: Agents that may connect with a certificate. `revoked` is when the box was declared lost.
identities = Table(
    "identities",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("area", Text, nullable=False),
    Column("added", Time, nullable=False),
    Column("revoked", Time),
)

#: One-time tokens of enrolment, by the SHA-256 of the secret. `key` is the SHA-256 of the public key that used it: the same box may
#: ask again when the answer got lost.
enrolments = Table(
    "enrolments",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("created", Time, nullable=False),
    Column("expires", Time, nullable=False),
    Column("by", Words, nullable=False),
    Column("used", Time),
    Column("key", Text),
)

#: Every certificate that was issued, by its serial number in hexadecimal. `subject` is the name that a broker sees.
certificates = Table(
    "certificates",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("pem", Text, nullable=False),
    Column("issued", Time, nullable=False),
    Column("expires", Time, nullable=False),
    Column("revoked", Time),
)
Index("certificates_by_subject", certificates.c.subject)
Index("certificates_by_expiry", certificates.c.expires)
