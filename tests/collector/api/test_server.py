"""The API behind a real HTTP server: what only a real connection shows."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio
import uvicorn

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.api.test_cameras import JPEG, asked
from tests.collector.kit import T0
from tests.collector.people import administrators_token, bearer
from village_collector.api.app import create_app


@asynccontextmanager
async def _served(collector: Collector) -> AsyncIterator[tuple[uvicorn.Server, tuple[str, int]]]:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    app = create_app(replace(collector.deps, public_url=f"http://{host}:{port}"))
    settings = uvicorn.Config(
        app, ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server, (host, port)
    server.should_exit = True
    await serving
    listener.close()


@asynccontextmanager
async def _administrator(collector: Collector, address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    token = await asyncio.to_thread(administrators_token, collector.control, T0)
    url = f"http://{address[0]}:{address[1]}/api/v1"
    async with httpx.AsyncClient(base_url=url, headers=bearer(token), trust_env=False) as client:
        yield client


@pytest_asyncio.fixture
async def address(collector: Collector) -> AsyncIterator[tuple[str, int]]:
    async with _served(collector) as (_, address):
        yield address


@pytest_asyncio.fixture
async def near(collector: Collector, address: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    async with _administrator(collector, address) as client:
        yield client


async def test_a_picture_whose_first_upload_broke_off(
    collector: Collector, near: httpx.AsyncClient, address: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiting = group.create_task(near.post("/cameras/gate-1/camera/snapshot"))
        command, arguments = await asked(collector)
        head = (
            f"POST /api/v1/uploads/{command} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: image/jpeg\r\n"
            f"Authorization: Bearer {arguments.upload_token}\r\nContent-Length: 1000\r\n\r\n"
        )
        _, writer = await asyncio.open_connection(*address)
        writer.write(head.encode() + JPEG)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        headers = {"authorization": f"Bearer {arguments.upload_token}", "content-type": "image/jpeg"}
        while True:
            response = await near.post(arguments.upload_url, content=JPEG, headers=headers)
            if response.status_code == 204:
                break
            # The server has not yet seen that the first connection is gone.
            problem(response, 403)
    assert waiting.result().content == JPEG
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_request_without_a_host_is_refused(address: tuple[str, int]) -> None:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /api/v1/health HTTP/1.0\r\n\r\n")
        assert b" 421 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_health_over_a_real_connection(near: httpx.AsyncClient) -> None:
    document(await near.get("/health"), "health")
    problem(await near.get("/health", headers={"host": "evil.example"}), 421)


async def test_who_waits_while_the_server_stops_is_told_to_ask_again(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with _served(collector) as (server, address), _administrator(collector, address) as near:
        request = {"target": {"agent": "gate-1"}, "arguments": {"kind": "stop"}}
        command = document(await near.post("/commands", json=request), "command", 202)
        waiting = asyncio.create_task(near.get(f"/commands/{command['id']}", params={"wait": 20}))
        async with asyncio.timeout(10):
            while not server.server_state.tasks:
                await asyncio.sleep(0.01)
        server.should_exit = True
        assert problem(await waiting, 503) == "the collector stops"
    assert not [record for record in caplog.records if record.exc_info]
