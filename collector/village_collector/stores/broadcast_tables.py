"""Tables of broadcasts: where each is on its loudspeakers, what agents play by themselves, and how long all of it was heard."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text

from village_collector.stores.columns import JsonObject, Time, Words, metadata

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
