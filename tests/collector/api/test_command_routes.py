"""Commands over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import T0, VILLAGE, at, result

UNLOCK = {
    "target": {"agent": "gate-1", "device": "reader"},
    "arguments": {"kind": "unlock", "seconds": 3},
}


async def test_a_command_from_issue_to_done(collector: Collector, client: httpx.AsyncClient) -> None:
    first = document(await client.post("/commands", json=UNLOCK), "command", 202)
    assert first == {
        "schema": "village.command/1",
        "id": str(collector.outbox.commands()[0].id),
        "issued": "2026-11-24T08:01:00.000000Z",
        "expires": "2026-11-24T08:02:00.000000Z",
        "issuer": "chief",
        "target": {"agent": "gate-1", "device": "reader"},
        "arguments": {"kind": "unlock", "seconds": 3.0},
        "state": "waiting",
        "sent": True,
        "problem": "",
        "counts": {"expected": 1, "answered": 0, "final": 0},
        "expected": [{"agent": "gate-1", "device": "reader"}],
        "results": [],
    }
    path = f"/commands/{first['id']}"
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.get(path, params={"wait": 30, "seen": 0}))
        await collector.deliver("gate-1", result(first["id"], "done", "reader", reason="open", time=at(61)))
    last = document(waiting.result(), "command")
    assert (last["state"], last["counts"]) == ("done", {"expected": 1, "answered": 1, "final": 1})
    assert last["results"] == [
        {
            "agent": "gate-1",
            "device": "reader",
            "outcome": "done",
            "reason": "open",
            "result": {},
            "time": "2026-11-24T08:01:01.000000Z",
        }
    ]
    await collector.deliver("gate-2", result(first["id"], "done", "reader", time=T0))
    assert document(await client.get(path), "command")["others"][0]["agent"] == "gate-2"


async def test_recent_commands(collector: Collector, client: httpx.AsyncClient) -> None:
    identities = []
    for seconds in range(3):
        collector.now = at(100 + seconds)
        identities.append(document(await client.post("/commands", json=UNLOCK), "command", 202)["id"])
    found = document(await client.get("/commands", params={"limit": 2}), "commands")["commands"]
    assert [row["id"] for row in found] == identities[:0:-1]
    assert "results" not in found[0]


async def test_an_area(client: httpx.AsyncClient) -> None:
    stop = {"target": {"area": VILLAGE}, "arguments": {"kind": "stop"}, "expires_in": 300}
    found = document(await client.post("/commands", json=stop), "command", 202)
    assert (found["arguments"], found["issuer"]) == ({"kind": "stop"}, "chief")
    assert found["expected"] == [{"agent": "gate-1", "device": "speaker"}]


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"target": {"agent": "gate-9"}}, 404, "unknown agent"),
        ({"target": {"agent": "gate_9"}}, 422, "write 1 to 32 of a-z, 0-9 and -"),
        ({"target": {"agent": "gate-1", "device": "x"}}, 404, "unknown device"),
        ({"target": {"area": "110000000000"}}, 404, "no agent in area"),
        ({"target": {"agent": "gate-1", "device": "camera"}}, 409, "has no door"),
        ({"target": {"area": "4419"}}, 422, "body.target"),
        ({"target": {}}, 422, "body.target"),
        ({"target": {"agent": "gate-1", "area": VILLAGE}}, 422, "body.target"),
        ({"arguments": {"kind": "dance"}}, 422, "body.arguments"),
        ({"arguments": {"kind": "unlock", "seconds": 61}}, 422, "body.arguments"),
        ({"arguments": {"kind": "say", "text": "x"}}, 422, "body.arguments"),
        ({"expires_in": 61}, 422, "between 5 and 60 seconds"),
        ({"expires_in": 4}, 422, "between 5 and 60 seconds"),
        ({"expire_in": 10}, 422, "body.expire_in"),
        ({"issuer": "li"}, 422, "body.issuer"),
    ],
)
async def test_refusals(
    collector: Collector, client: httpx.AsyncClient, change: dict[str, Any], status: int, text: str
) -> None:
    assert text in problem(await client.post("/commands", json=UNLOCK | change), status)
    assert collector.outbox.sent == []


@pytest.mark.parametrize("code", ["33011010120", "3301101012050", "330110", "33011010120-g01"])
async def test_an_area_code_of_another_length_is_told_from_an_agent(client: httpx.AsyncClient, code: str) -> None:
    response = await client.post("/commands", json=UNLOCK | {"target": {"agent": code}})
    assert problem(response, 404) == f"unknown agent {code}"
    assert "12 digits" in response.json()["advice"]["en"]
    elsewhere = await client.post("/commands", json=UNLOCK | {"target": {"agent": "gate-9"}})
    assert "12 digits" not in elsewhere.json()["advice"]["en"]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "[" * 30_000, '{"a": NaN}', "\\ud800"])
async def test_what_is_no_command_is_refused(client: httpx.AsyncClient, body: str) -> None:
    response = await client.post("/commands", content=body, headers={"content-type": "application/json"})
    problem(response, response.status_code)
    assert response.status_code in {400, 422}


async def test_pictures_go_nowhere_else(collector: Collector, client: httpx.AsyncClient) -> None:
    arguments = {"kind": "snapshot", "upload_url": "http://elsewhere.example/", "upload_token": "x"}
    body = {"target": {"agent": "gate-1", "device": "camera"}, "arguments": arguments}
    assert "cameras" in problem(await client.post("/commands", json=body), 422)
    assert collector.outbox.sent == []


async def test_a_broker_that_is_away(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.outbox.broken = "not connected to the broker"
    response = await client.post("/commands", json=UNLOCK)
    assert problem(response, 503) == "the command was not sent: not connected to the broker"
    found = document(await client.get(f"/commands/{response.json()['command']}"), "command")
    assert (found["sent"], found["problem"]) == (False, "not connected to the broker")
    collector.now = at(1000)
    assert document(await client.get(f"/commands/{found['id']}"), "command")["state"] == "expired"


async def test_an_unknown_command(client: httpx.AsyncClient) -> None:
    problem(await client.get("/commands/" + "0" * 32), 404)
    problem(await client.get("/commands/" + "0" * 32, params={"wait": 5}), 404)


async def test_half_a_surrogate_pair_does_not_break_the_answer(collector: Collector, client: httpx.AsyncClient) -> None:
    body = json.dumps({"targets": [{"agent": "gate-1"}], "text": "x"})
    response = await client.post(
        "/broadcasts", content=body.replace('"x"', '"\\ud800"'), headers={"content-type": "application/json"}
    )
    assert response.status_code in {202, 422}
