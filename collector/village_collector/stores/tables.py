"""Tables of the control store. Portable SQL: SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

#: Raised with every change of a table that is there; `migrations` then has a step from the version before.
SCHEMA_VERSION = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Time(TypeDecorator[datetime]):
    """A time as microseconds since 1970: exact, and compared in the same way by every database."""

    impl = BigInteger
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Words(TypeDecorator[str]):
    """Text from the field. PostgreSQL takes no NUL, and a device may send one."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class JsonObject(TypeDecorator[dict[str, Any]]):
    """A JSON object, opaque to the database."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else json.loads(value)


#: SQLite makes only an INTEGER primary key the row's own id.
_RowId = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

#: `online`, `session`, `version`, `status_received`: None until the first status; `status_received` is when the present
#: condition (online in this session, or offline) was first heard of.
agents = Table(
    "agents",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("area", Text, nullable=False, default=""),
    Column("config_version", Words, nullable=False, default=""),
    Column("online", Boolean),
    Column("session", Text),
    Column("version", Words),
    Column("status_received", Time),
    Column("last_seen", Time),
)
Index("agents_by_area", agents.c.area)

#: The sessions that an agent had, in the order in which they were first heard of, each with its greatest connection number.
sessions = Table(
    "sessions",
    metadata,
    Column("number", _RowId, primary_key=True, autoincrement=True),
    Column("agent", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("connection", Integer),
    UniqueConstraint("agent", "session"),
)

#: Connections that ended lately. `connection` is 0 where the agent does not count them.
link_losses = Table(
    "link_losses",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("connection", Integer, primary_key=True),
    Column("received", Time, nullable=False),
)

#: What agents had to throw away: totals by class and reason. `received` is when the entry last grew.
ledger = Table(
    "ledger",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("item_class", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first", Time, nullable=False),
    Column("last", Time, nullable=False),
    Column("received", Time, nullable=False),
    Column("time", Time, nullable=False),
    Column("event", Text, nullable=False),
)

#: `abilities` and `tags` are words with a space before and after each, so that one can be searched for.
devices = Table(
    "devices",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("driver", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("abilities", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("firmware", Words, nullable=False),
    Column("removed", Time),
    Column("tags", Words, nullable=False, default="", server_default=""),
)

#: Newest state of a device (`""`: the agent itself) in each session. Only the agent's present session counts: the clock of
#: a box without a battery may have stood in the future in an earlier one.
states = Table(
    "states",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("session", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("evidence", Words, nullable=False),
    Column("since", Time, nullable=False),
    Column("time", Time, nullable=False),
    Column("event", Text, nullable=False),
)

#: `number` is the order of receipt. `area` is the agent's at that time. `device` None means the agent itself.
events = Table(
    "events",
    metadata,
    Column("number", _RowId, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("time", Time, nullable=False),
    Column("received", Time, nullable=False),
    Column("agent", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("device", Text),
    Column("kind", Text, nullable=False),
    Column("data", JsonObject, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_by_time", events.c.time)
Index("events_by_agent", events.c.agent, events.c.time)
Index("events_by_receipt", events.c.received)

#: `expected`, `answered` and `final` count the expected devices; `revision` grows with every change of a result.
#: `sent` is None until the broker's answer is known: a command found so after a crash is never sent again.
commands = Table(
    "commands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("issued", Time, nullable=False),
    Column("expires", Time, nullable=False),
    Column("issuer", Words, nullable=False),
    Column("target", JsonObject, nullable=False),
    Column("arguments", JsonObject, nullable=False),
    Column("sent", Boolean),
    Column("problem", Words, nullable=False, default=""),
    Column("expected", Integer, nullable=False),
    Column("answered", Integer, nullable=False, default=0),
    Column("final", Integer, nullable=False, default=0),
    Column("revision", Integer, nullable=False, default=0),
)
Index("commands_by_issue", commands.c.issued)

#: One row per expected device from the start, and per other device (`""`: the agent) that answered all the same.
command_results = Table(
    "command_results",
    metadata,
    Column("command", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("expected", Boolean, nullable=False),
    Column("outcome", Text),
    Column("reason", Words),
    Column("result", JsonObject),
    Column("time", Time),
    Column("event", Text),
)

#: `arguments` are those of the wire without the audio's token. `sent` is None until the broker's answer is known. `expected`, `heard`,
#: `sounding` and `failed` count expected loudspeakers, and `revision` grows with every change of one. `lasts` is how many seconds of
#: sound it has at the most, `audio` the SHA-256 of its file, `withdrawal_sent` when a withdrawal reached the broker.
broadcasts = Table(
    "broadcasts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("issued", Time, nullable=False),
    Column("issuer", Words, nullable=False),
    Column("arguments", JsonObject, nullable=False),
    Column("audio", Text),
    Column("start", Time),
    Column("end", Time, nullable=False),
    Column("lasts", Float, nullable=False),
    Column("sent", Boolean),
    Column("problem", Words, nullable=False, default=""),
    Column("withdrawn", Time),
    Column("withdrawn_by", Words),
    Column("withdrawal_reason", Words),
    Column("withdrawal_sent", Time),
    Column("expected", Integer, nullable=False),
    Column("heard", Integer, nullable=False, default=0),
    Column("sounding", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("revision", Integer, nullable=False, default=0),
)
Index("broadcasts_by_issue", broadcasts.c.issued)
Index("broadcasts_by_end", broadcasts.c.end)

#: Where a broadcast was sent, in the order of sending. `command` is the id of the signed command: that of the broadcast, or another one where an
#: agent has several (it carries out each id once). `tags` and `without` are the target's, with spaces between.
broadcast_targets = Table(
    "broadcast_targets",
    metadata,
    Column("broadcast", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("command", Text, nullable=False),
    Column("area", Text),
    Column("agent", Text),
    Column("device", Text),
    Column("sent", Boolean),
    Column("problem", Words, nullable=False, default=""),
    Column("tags", Words, nullable=False, default="", server_default=""),
    Column("without", Words, nullable=False, default="", server_default=""),
)
Index("broadcast_targets_by_command", broadcast_targets.c.command)

#: Where a broadcast is on each loudspeaker: a row per expected one from the start (`area` as at that time, `target` that by which it is
#: reached), and per other one that sent a receipt all the same. `stage` None: nothing was heard of it. `started` is the first sample ever;
#: the rest is of the receipt `event`. `asked` is when the command was last sent to its agent, `asks` how often.
receipts = Table(
    "receipts",
    metadata,
    Column("broadcast", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("expected", Boolean, nullable=False),
    Column("area", Text, nullable=False),
    Column("target", Integer),
    Column("asked", Time),
    Column("asks", Integer, nullable=False, default=0),
    Column("stage", Text),
    Column("reason", Words),
    Column("evidence", Words),
    Column("started", Time),
    Column("play", Integer),
    Column("position", Float),
    Column("overrode", Boolean),
    Column("time", Time),
    Column("event", Text),
)

#: What agents play by themselves, a row per target that ever had programmes. `target` is `schedules.target_text`, `document` a
#: `Schedule` as it is signed. A row stays when its programmes are removed: agents must hear of that, and its number goes on.
schedules = Table(
    "schedules",
    metadata,
    Column("target", Text, primary_key=True),
    Column("area", Text),
    Column("agent", Text),
    Column("device", Text),
    Column("number", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("changed", Time, nullable=False),
    Column("by", Words, nullable=False),
)

#: Seconds of sound by the last receipts of broadcasts that have a category: sums by month (`2026-11`, of China's time), the agent's area at
#: that time, loudspeaker and category.
publicity = Table(
    "publicity",
    metadata,
    Column("month", Text, primary_key=True),
    Column("area", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("plays", Integer, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("number", _RowId, primary_key=True, autoincrement=True),
    Column("agent", Text, nullable=False),
    Column("topic", Words, nullable=False),
    Column("received", Time, nullable=False),
    Column("reason", Words, nullable=False),
    Column("content", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

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

#: `trust`: grows with every change of who may connect, so that other collectors on the same database notice it.
counters = Table(
    "counters", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)

#: The audit log: `entry` are the exact bytes (canonical JSON) under `hash`; the other columns are for searching and prove nothing.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("actor", Words, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("area", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
Index("audit_by_time", audit_entries.c.time)
Index("audit_by_actor", audit_entries.c.actor)

#: Signatures over the hash of an entry, and so over all before it.
audit_seals = Table(
    "audit_seals",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
)
