"""Nobody but a local program reaches the doors, and nobody fills the memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from village_collector.api.guard import MAX_BODY_BYTES
from village_collector.ports import Problem

STOP = {"target": {"agent": "gate-1"}, "arguments": {"kind": "stop"}}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8480",
        "localhost:9000",
        "localhost",
        "LOCALHOST",
        "[::1]:8480",
        "127.9.9.9",
        "collector.village.example",
        "Collector.Village.Example:443",
    ],
)
async def test_own_names_are_served(client: httpx.AsyncClient, host: str) -> None:
    document(await client.get("/health", headers={"host": host}), "health")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8480",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[::1",
        "x@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:x",
        "village.example",
        "10.0.0.1",
    ],
)
async def test_other_names_are_refused(client: httpx.AsyncClient, host: str) -> None:
    problem(await client.get("/health", headers={"host": host}), 421)


async def test_two_hosts_are_refused(client: httpx.AsyncClient) -> None:
    request = client.build_request("GET", "/health", headers=[("host", "127.0.0.1"), ("host", "127.0.0.1")])
    problem(await client.send(request), 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://localhost:8480"},
        {"origin": "http://127.0.0.1:8480.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
async def test_a_web_page_opens_no_door(
    collector: Collector, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    problem(await client.post("/commands", json=STOP, headers=headers), 403)
    assert collector.outbox.sent == []


async def test_own_pages_and_followed_links_work(client: httpx.AsyncClient) -> None:
    own = {"origin": "http://127.0.0.1:8480", "sec-fetch-site": "same-origin"}
    document(await client.post("/commands", json=STOP, headers=own), "command", 202)
    document(
        await client.get("/health", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}), "health"
    )


async def test_a_form_of_another_page_is_no_command(collector: Collector, client: httpx.AsyncClient) -> None:
    body = '{"target": {"agent": "gate-1"}, "arguments": {"kind": "stop"}}'
    problem(await client.post("/commands", content=body, headers={"content-type": "text/plain"}), 422)
    assert collector.outbox.sent == []


async def test_long_bodies_are_refused(collector: Collector, client: httpx.AsyncClient) -> None:
    read = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal read
        while True:
            read += 1024
            yield b" " * 1024

    headers = {"content-type": "application/json"}
    body = endless()
    detail = problem(await client.post("/commands", content=body, headers=headers), 413)
    await body.aclose()
    assert "65536" in detail
    assert read <= MAX_BODY_BYTES + 2048
    problem(await client.post("/commands", content=b" " * (MAX_BODY_BYTES + 1), headers=headers), 413)
    assert collector.outbox.sent == []


async def test_unforeseen_errors_are_logged_once_and_told_without_internals(
    collector: Collector, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    def fault() -> list[Problem]:
        raise ZeroDivisionError("the secret of the house")

    collector.app.state.deps = replace(collector.deps, problems=fault)
    with caplog.at_level(logging.ERROR):
        response = await client.get("/health")
    detail = problem(response, 500)
    assert "secret" not in response.text
    assert "log" in detail
    (record,) = caplog.records
    assert record.getMessage() == "GET /api/v1/health failed"
    assert record.exc_info is not None


async def test_web_sockets_are_closed(collector: Collector) -> None:
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await collector.app({"type": "websocket", "path": "/api/v1/health", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
