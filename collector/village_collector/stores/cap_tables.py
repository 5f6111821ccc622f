"""Tables of alerts of the Common Alerting Protocol."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text, UniqueConstraint

from village_collector.stores.columns import JsonObject, Time, Words, metadata

#: Every alert that a trusted signer sent, aired or not. Sender, identifier and `sent` name it in the whole world; `digest` is over what
#: it says. Until `until` it could be played again by whoever kept it. `document` is what the API tells of it.
cap_alerts = Table(
    "cap_alerts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sender", Words, nullable=False),
    Column("identifier", Words, nullable=False),
    Column("sent", Time, nullable=False),
    Column("feed", Text, nullable=False),
    Column("signer", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("received", Time, nullable=False),
    Column("until", Time, nullable=False),
    Column("person", Text, nullable=False),
    Column("document", JsonObject, nullable=False),
    UniqueConstraint("sender", "identifier", "sent"),
)
Index("cap_alerts_by_receipt", cap_alerts.c.received)
Index("cap_alerts_by_end", cap_alerts.c.until)

#: What an alert says that it replaces. It stays for alerts that arrive later than what replaces them.
cap_references = Table(
    "cap_references",
    metadata,
    Column("alert", Text, primary_key=True),
    Column("sender", Words, primary_key=True),
    Column("identifier", Words, primary_key=True),
    Column("sent", Time, primary_key=True),
)
Index("cap_references_by_name", cap_references.c.sender, cap_references.c.identifier)

#: The broadcasts of an alert. `state`: `planned` until the broker has all of it, then `aired`, or `dropped` with the problem; whoever
#: sends it has `claimed` it. `superseded` is the alert that takes it back, `withdrawn` whether that was passed on.
cap_broadcasts = Table(
    "cap_broadcasts",
    metadata,
    Column("broadcast", Text, primary_key=True),
    Column("alert", Text, nullable=False),
    Column("info", Integer, nullable=False),
    Column("areas", JsonObject, nullable=False),
    Column("arguments", JsonObject, nullable=False),
    Column("audio", Text),
    Column("state", Text, nullable=False),
    Column("problem", Words, nullable=False, default=""),
    Column("claimed", Time, nullable=False),
    Column("superseded", Text),
    Column("withdrawn", Integer, nullable=False, default=0),
)
Index("cap_broadcasts_by_alert", cap_broadcasts.c.alert)
Index("cap_broadcasts_by_state", cap_broadcasts.c.state)

#: When something new was last `heard` from a feed, when its sender says that it was `sent`, and since when the feed is told to be quiet.
cap_feeds = Table(
    "cap_feeds",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("heard", Time),
    Column("sent", Time),
    Column("quiet", Time),
    Column("alarmed", Time),
)
