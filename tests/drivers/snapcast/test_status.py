"""What a snapserver says, in the form in which version 0.26 says it, and in others."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from village_drivers.snapcast.status import Client, Group, InvalidStatus, Stream, read_stream


def _client(name: str, *, connected: bool = True, muted: bool = False) -> dict[str, Any]:
    return {
        "config": {"instance": 1, "latency": 20, "name": "", "volume": {"muted": muted, "percent": 100}},
        "connected": connected,
        "host": {"name": "box"},
        "id": name,
        "snapclient": {"version": "0.26.0"},
    }


STATUS: dict[str, Any] = {
    "server": {
        "groups": [
            {"id": "g1", "muted": False, "name": "", "stream_id": "village", "clients": [_client("east")]},
            {"id": "g2", "muted": True, "name": "", "stream_id": "village", "clients": [_client("west")]},
            {
                "id": "g3",
                "muted": False,
                "name": "",
                "stream_id": "village",
                "clients": [_client("away", connected=False)],
            },
            {"id": "g4", "muted": False, "name": "", "stream_id": "music", "clients": [_client("other")]},
        ],
        "streams": [
            {"id": "music", "status": "idle", "uri": {"host": "", "path": "/tmp/fifo", "query": {}, "scheme": "pipe"}},
            {
                "id": "village",
                "status": "playing",
                "uri": {
                    "host": "127.0.0.1:4953",
                    "path": "",
                    "query": {"mode": "server", "sampleformat": "48000:16:1"},
                    "scheme": "tcp",
                },
            },
        ],
    }
}


def test_a_stream_and_its_listeners() -> None:
    stream = read_stream(STATUS, "village")
    assert isinstance(stream, Stream)
    assert (stream.scheme, stream.host, stream.port, stream.mode) == ("tcp", "127.0.0.1", 4953, "server")
    assert (stream.sample_format, stream.playing) == ("48000:16:1", True)
    assert stream.groups == (Group("g1", False), Group("g2", True), Group("g3", False))
    assert stream.clients[0] == Client("east", True, False, 20)
    assert stream.summary == "2 of 3 clients connected, missing: away, muted: west"
    pipe = read_stream(STATUS, "music")
    assert isinstance(pipe, Stream)
    assert (pipe.scheme, pipe.path, pipe.port) == ("pipe", "/tmp/fifo", 0)


def test_the_streams_that_there_are() -> None:
    assert read_stream(STATUS, "village2") == ("music", "village")


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in _places(inner, (*path, key)))]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(_places(STATUS)[1:]), _JSON)
def test_any_other_form_is_read_or_invalid(place: tuple[Any, ...], other: Any) -> None:
    status = copy.deepcopy(STATUS)
    inner: Any = status
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other
    try:
        stream = read_stream(status, "village")
    except InvalidStatus:
        return
    if isinstance(stream, Stream):
        assert stream.summary
        assert 0 <= stream.port <= 99999


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"server": null}', '{"server": {"streams": [{}]}}'])
def test_no_status_at_all(text: str) -> None:
    with pytest.raises(InvalidStatus):
        read_stream(json.loads(text), "village")
