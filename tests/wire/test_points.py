from __future__ import annotations

import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_wire.points import (
    CONTENT_DEFLATED,
    CONTENT_LINES,
    KINDS,
    MAX_INFLATED_BYTES,
    MAX_MESSAGE_BYTES,
    InvalidBatch,
    InvalidPoint,
    check_batch,
    deflate,
    encode_point,
    inflate,
)

LINE = encode_point("host", "a", "box", {"cpu_percent": 1}, 1)


def test_types_are_kept() -> None:
    assert LINE == b"host,agent=a,device=box cpu_percent=1.0 1"
    assert encode_point("agent", "a", "a", {"lost": 3}, 2) == b"agent,agent=a,device=a lost=3i 2"
    assert encode_point("switch", "a", "x", {"on": True}, 3) == b"switch,agent=a,device=x on=true 3"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("nothing", {"x": 1}),
        ("host", {}),
        ("host", {"x": 1}),
        ("host", {"cpu_percent": True}),
        ("host", {"cpu_percent": math.nan}),
        ("host", {"cpu_percent": math.inf}),
        ("agent", {"lost": 1.5}),
        ("agent", {"lost": 2**63}),
        ("switch", {"on": 1}),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, fields: dict[str, float]) -> None:
    with pytest.raises(InvalidPoint):
        encode_point(kind, "a", "d", fields, 1)


def test_a_batch_counts_its_lines() -> None:
    assert check_batch(LINE + b"\n" + LINE + b"\n", "a") == 2


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"\n",
        LINE + b"\n\n" + LINE,
        LINE.replace(b"agent=a", b"agent=b"),
        LINE + b"\n" + LINE.replace(b"agent=a", b"agent=ab"),
        LINE.replace(b"device=box", b"device=box,agent=b"),
        b"gone,agent=a,device=box x=1 1",
        b"# comment",
    ],
)
def test_a_foreign_line_spoils_the_batch(lines: bytes) -> None:
    with pytest.raises(InvalidBatch):
        check_batch(lines, "a")


@given(st.binary(max_size=500))
def test_any_bytes_are_a_batch_or_refused(data: bytes) -> None:
    for content in (CONTENT_LINES, CONTENT_DEFLATED, "x"):
        try:
            lines = inflate(content, data)
            check_batch(lines, "a")
        except InvalidBatch:
            continue
        assert all(line.split(b",")[0].decode() in KINDS for line in lines.rstrip(b"\n").split(b"\n"))


@given(st.binary(max_size=2000))
def test_deflated_lines_come_back(lines: bytes) -> None:
    assert inflate(CONTENT_DEFLATED, deflate(lines)) == lines


def test_a_sender_may_do_without_the_dictionary() -> None:
    assert inflate(CONTENT_DEFLATED, zlib.compress(LINE)) == LINE


def test_what_agents_deflate_today_can_be_read_tomorrow() -> None:
    # The four bytes after the header are the dictionary's checksum: another dictionary breaks every agent in the field.
    assert deflate(LINE)[2:6].hex() == "e1d46cf5"
    assert len(deflate(LINE)) < len(zlib.compress(LINE)) - 10


@pytest.mark.parametrize(
    "payload",
    [
        zlib.compress(bytes(MAX_INFLATED_BYTES + 1)),
        deflate(LINE)[:-1],
        deflate(LINE) + b"x",
        b"",
        bytes(MAX_MESSAGE_BYTES + 1),
    ],
)
def test_bombs_and_broken_streams_are_refused(payload: bytes) -> None:
    with pytest.raises(InvalidBatch):
        inflate(CONTENT_DEFLATED, payload)
