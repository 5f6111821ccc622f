"""Whatever a caller sends: a problem document that says what is wrong, and nothing done. Never a fault of the program."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collector.api.conftest import Collector, document, problem
from village_collector.api.guard import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PARAMETERS,
    MAX_PATH_BYTES,
    MAX_QUERY_BYTES,
)

JSON = {"content-type": "application/json"}
STOP = '{"target": {"agent": "gate-1"}, "arguments": {"kind": "stop"}'
SAY = '{"targets": [{"agent": "gate-1"}], "text": %s}'


@pytest.fixture(autouse=True)
def _no_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"target": ' + b"[" * 900 + b"]" * 900 + b"}",
        STOP.encode() + b', "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        STOP.encode() + b', "expires_in": 1e400}',
        STOP.encode() + b', "expires_in": NaN}',
        STOP.encode() + b', "expires_in": -Infinity}',
        STOP.encode() + b', "expires_in": ' + b"9" * 5000 + b"}",
        STOP.encode() + b', "expires_in": ' + b"9" * 400 + b"}",
        b"\xff\xfe\x00\x00",
        b"\xef\xbb\xbf{}",
        b"\x80\x81",
        b"",
        b"null",
        b'"text"',
        b"\x1f\x8b\x08\x00",
    ],
)
async def test_no_body_is_a_fault(collector: Collector, client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/commands", content=body, headers=JSON)
    assert response.status_code in {400, 422}
    problem(response, response.status_code)
    assert collector.outbox.sent == []


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00\\ud800 x"', json.dumps("x" * 2001), "null", "[]"])
async def test_what_is_no_text_is_refused(collector: Collector, client: httpx.AsyncClient, text: str) -> None:
    response = await client.post("/broadcasts", content=SAY % text, headers=JSON)
    problem(response, 422)
    assert collector.outbox.sent == []


@pytest.mark.parametrize("text", ['"\\u0000"', '"\\u001b[2J\\u202e"', '"a\\u0000b"', '"\\ufffe\\uffff"'])
async def test_any_character_is_only_text(client: httpx.AsyncClient, text: str) -> None:
    found = document(await client.post("/broadcasts", content=SAY % text, headers=JSON), "broadcast", 202)
    document(await client.get(f"/broadcasts/{found['id']}"), "broadcast")
    document(await client.get("/broadcasts"), "broadcasts")


async def test_the_last_of_two_equal_keys_counts_for_all(collector: Collector, client: httpx.AsyncClient) -> None:
    # One parser reads a body, so check and act can't see two different things.
    body = '{"target": {"agent": "gate-1"}, "target": {"agent": "no-such"}, "arguments": {"kind": "stop"}}'
    problem(await client.post("/commands", content=body, headers=JSON), 404)
    assert collector.outbox.sent == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["target", "agent", "arguments", "kind", "text"]) | st.text(), inner)
        ),
    )
)
async def test_no_json_is_a_fault(client: httpx.AsyncClient, value: Any) -> None:
    response = await client.post("/commands", content=json.dumps(value), headers=JSON)
    problem(response, response.status_code)
    assert response.status_code < 500


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/plain", 422),
        ("application/x-www-form-urlencoded", 422),
        ("multipart/form-data; boundary=x", 422),
        ("", 422),
        ("application/json; charset=utf-16", 422),
        ("application/xml", 422),
    ],
)
async def test_only_json_is_json(collector: Collector, client: httpx.AsyncClient, kind: str, status: int) -> None:
    body = STOP.encode("utf-16" if "utf-16" in kind else "utf-8")
    problem(await client.post("/commands", content=body, headers={"content-type": kind}), status)
    assert collector.outbox.sent == []


async def test_heads_have_limits(client: httpx.AsyncClient) -> None:
    document(await client.get("/health", headers={f"x-{n}": "y" for n in range(MAX_HEADERS - 10)}), "health")
    problem(await client.get("/health", headers={f"x-{n}": "y" for n in range(MAX_HEADERS)}), 431)
    problem(await client.get("/health", headers={"x": "y" * MAX_HEAD_BYTES}), 431)
    problem(await client.get("/" + "x" * MAX_PATH_BYTES), 414)
    problem(await client.get("/health?agent=" + "x" * MAX_QUERY_BYTES), 414)
    problem(await client.get("/health?" + "&".join("status=ok" for _ in range(MAX_PARAMETERS + 1))), 400)
    problem(await client.get("/health?" + "&" * (MAX_PARAMETERS + 1)), 400)


async def test_a_length_that_lies_is_counted(client: httpx.AsyncClient) -> None:
    headers = JSON | {"content-length": "10"}
    problem(await client.post("/commands", content=b" " * (MAX_BODY_BYTES + 1), headers=headers), 413)
    problem(await client.post("/commands", content=b"{}", headers=JSON | {"content-length": str(10**30)}), 413)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "PROPFIND", "x"])
async def test_other_methods_get_a_problem_document(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/health")
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"


async def test_every_answer_is_not_kept_and_never_a_page(collector: Collector, client: httpx.AsyncClient) -> None:
    async with collector.client("") as stranger:
        found = [
            await client.get("/health"),
            await client.get("/no-such"),
            await client.get("/health", headers={"host": "evil.example"}),
            await stranger.get("/health"),
            await stranger.get("/openapi.json"),
        ]
    assert [response.status_code for response in found][:4] == [200, 404, 421, 401]
    for response in found:
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers


def test_the_longest_path_of_a_route_fits(collector: Collector) -> None:
    longest = max(map(len, collector.app.openapi()["paths"]))
    # An agent of 32 characters, a device of 64, a UUID of 36: each takes the place of its name in braces.
    assert longest + 132 < MAX_PATH_BYTES
