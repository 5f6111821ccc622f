"""Tables of agents, their devices, and what was ordered and heard of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from village_collector.stores.columns import JsonObject, RowId, Time, Words, metadata

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
    Column("number", RowId, primary_key=True, autoincrement=True),
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
    Column("number", RowId, primary_key=True, autoincrement=True),
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

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("number", RowId, primary_key=True, autoincrement=True),
    Column("agent", Text, nullable=False),
    Column("topic", Words, nullable=False),
    Column("received", Time, nullable=False),
    Column("reason", Words, nullable=False),
    Column("content", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

#: `trust`: grows with every change of who may connect, so that other collectors on the same database notice it.
counters = Table(
    "counters", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)
