"""Pictures: asked for, uploaded with a token that works once, handed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import result
from village_collector.api.guard import MAX_UPLOAD_BYTES
from village_collector.snapshots import MAX_PENDING
from village_wire.commands import Snapshot

JPEG = b"\xff\xd8\xff\xe0 picture"
PATH = "/cameras/gate-1/camera/snapshot"


async def asked(collector: Collector, number: int = 1) -> tuple[UUID, Snapshot]:
    """The command that reached the agent."""
    async with asyncio.timeout(5):
        while len(collector.outbox.sent) < number:
            await asyncio.sleep(0)
    command = collector.outbox.commands()[number - 1]
    assert isinstance(command.arguments, Snapshot)
    return command.id, command.arguments


async def upload(
    client: httpx.AsyncClient,
    arguments: Snapshot,
    content: bytes = JPEG,
    *,
    authorization: str | None = None,
    content_type: str = "image/jpeg",
) -> httpx.Response:
    """What an agent does, at the address that it was given."""
    bearer = f"Bearer {arguments.upload_token}" if authorization is None else authorization
    headers = {"authorization": bearer, "content-type": content_type}
    return await client.post(arguments.upload_url, content=content, headers=headers)


async def test_a_picture(collector: Collector, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.post(PATH))
        command, arguments = await asked(collector)
        assert arguments.upload_url == f"http://collector.village.example:8480/api/v1/uploads/{command}"
        assert (await upload(client, arguments)).status_code == 204
        # The token works once.
        problem(await upload(client, arguments), 403)
    response = waiting.result()
    assert (response.status_code, response.headers["content-type"], response.content) == (200, "image/jpeg", JPEG)
    problem(await upload(client, arguments), 403)
    for path in (f"/commands/{command}", "/commands"):
        assert arguments.upload_token not in (await client.get(path)).text


async def test_uploads_that_are_refused_leave_the_token_usable(collector: Collector, client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"\xff\xd8\xff" + b" " * 100_000

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.post(PATH))
        command, arguments = await asked(collector)
        problem(await upload(client, arguments, authorization="Bearer wrong"), 403)
        problem(await upload(client, arguments, authorization=""), 403)
        problem(await upload(client, arguments, authorization=f"Basic {arguments.upload_token}"), 403)
        problem(await upload(client, arguments, authorization="Bearer " + "x" * 200), 422)
        problem(await upload(client, arguments.model_copy(update={"upload_url": f"/uploads/{UUID(int=1)}"})), 403)
        problem(await upload(client, arguments, b"<html>"), 415)
        problem(await upload(client, arguments, content_type="text/html"), 415)
        problem(await upload(client, arguments, JPEG + b" " * MAX_UPLOAD_BYTES), 413)
        headers = {"authorization": f"Bearer {arguments.upload_token}", "content-type": "image/jpeg"}
        problem(await client.post(f"/uploads/{command}", content=endless(), headers=headers), 413)
        large = JPEG + b" " * (MAX_UPLOAD_BYTES - len(JPEG))
        assert (await upload(client, arguments, large)).status_code == 204
    assert waiting.result().content == large


async def test_two_uploads_at_a_time_are_refused(collector: Collector, client: httpx.AsyncClient) -> None:
    go_on = asyncio.Event()
    started = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield JPEG
        started.set()
        await go_on.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.post(PATH))
        _, arguments = await asked(collector)
        headers = {"authorization": f"Bearer {arguments.upload_token}", "content-type": "image/jpeg"}
        first = group.create_task(client.post(arguments.upload_url, content=slow(), headers=headers))
        await started.wait()
        problem(await upload(client, arguments), 403)
        go_on.set()
    assert (first.result().status_code, waiting.result().status_code) == (204, 200)


@pytest.mark.parametrize(
    ("outcome", "reason", "told"),
    [
        ("failed", "no answer from 10.0.0.8", "failed: no answer from 10.0.0.8"),
        ("done", "", "done: no picture arrived"),
    ],
)
async def test_the_agents_reason_is_told(
    collector: Collector, client: httpx.AsyncClient, outcome: str, reason: str, told: str
) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.post(PATH))
        command, _ = await asked(collector)
        await collector.deliver("gate-1", result(command, "accepted", "camera"))
        await collector.deliver("gate-1", result(command, outcome, "camera", reason=reason))
    assert problem(waiting.result(), 502) == told


async def test_no_answer(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.app.state.deps = replace(collector.deps, picture_seconds=0.2)
    assert "no picture from gate-1/camera" in problem(await client.post(PATH), 504)
    _, arguments = await asked(collector)
    problem(await upload(client, arguments), 403)


async def test_who_has_no_camera(collector: Collector, client: httpx.AsyncClient) -> None:
    problem(await client.post("/cameras/gate-1/reader/snapshot"), 409)
    problem(await client.post("/cameras/gate-9/camera/snapshot"), 404)
    collector.outbox.broken = "not connected to the broker"
    problem(await client.post(PATH), 503)


async def test_the_number_of_awaited_pictures_is_bounded(collector: Collector, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = [group.create_task(client.post(PATH)) for _ in range(MAX_PENDING)]
        await asked(collector, MAX_PENDING)
        response = await client.post(PATH)
        problem(response, 503)
        assert response.headers["retry-after"] == "5"
        for number in range(MAX_PENDING):
            _, arguments = await asked(collector, number + 1)
            assert (await upload(client, arguments)).status_code == 204
    assert {task.result().status_code for task in waiting} == {200}
    # All places are free again.
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        again = group.create_task(client.post(PATH))
        _, arguments = await asked(collector, MAX_PENDING + 1)
        await upload(client, arguments)
    assert again.result().status_code == 200
    document(await client.get("/commands", params={"limit": 5}), "commands")
