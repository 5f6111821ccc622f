"""Tables of sounds that several collectors share, and of live voices."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, Table, Text

from village_collector.stores.columns import JsonObject, Time, Words, metadata

#: Sound files that are there as a whole, by the SHA-256 of their bytes. `token` is what agents show for them, `used` when somebody last meant
#: to broadcast it. Only collectors that share a database write here.
audio_files = Table(
    "audio_files",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("token", Text, nullable=False),
    Column("used", Time, nullable=False),
)

#: Their bytes, in parts of one size. Parts without a row in `audio_files` are of a file that is yet to be complete, or that is forgotten.
audio_parts = Table(
    "audio_parts",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("added", Time, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
Index("audio_parts_by_time", audio_parts.c.added)

#: What was said live, as it is said: the bytes of an Ogg Opus file from `begin` to `end`, not including that.
recording_parts = Table(
    "recording_parts",
    metadata,
    Column("broadcast", Text, primary_key=True),
    Column("begin", BigInteger, primary_key=True),
    Column("end", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

#: Live voices. `targets` is `{"targets": [{"target": …, "area": …}, …]}`, `key` the public half of the key that signs it. Until `until` it may
#: begin; `collector` carries it since, and said so at `heard`, with the seconds sent. `cut`: why it is to end. `ended` with its `reason`, "" by
#: the speaker's own will.
speeches = Table(
    "speeches",
    metadata,
    Column("broadcast", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("rank", Text, nullable=False),
    Column("title", Words, nullable=False),
    Column("targets", JsonObject, nullable=False),
    Column("key", Text, nullable=False),
    Column("until", Time, nullable=False),
    Column("collector", Text),
    Column("heard", Time),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("cut", Words, nullable=False, default=""),
    Column("ended", Time),
    Column("reason", Words, nullable=False, default=""),
)
Index("speeches_by_end", speeches.c.ended)
