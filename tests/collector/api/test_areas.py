"""A person with a role in one area meets another area: nothing of it is told, and nothing is done there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.api.operations import PASSWORD, ROLES, Place, operations, request, role_table
from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site, event
from tests.collector.people import add_person, add_token
from village_collector.people.rights import Grant, Role
from village_collector.ports import DeadLetter, Sample
from village_wire.events import ButtonPressed

TABLE = role_table()
#: What answers nothing about places: one's own account, and what asks for other proofs than a login.
_OWN = {
    "POST /login",
    "POST /logout",
    "GET /me",
    "PUT /me/password",
    "POST /me/totp",
    "DELETE /me/totp",
    "POST /tokens",
    "PUT /audio",
    "POST /cap",
}
#: Every text by which something of the other area could be recognised.
SECRETS = ("gate-2", OTHER, "stranger", "knock")


@dataclass
class Foreign:
    """What is in the other area."""

    place: Place
    event: str


async def fill(collector: Collector, role: Role) -> tuple[str, Foreign]:
    """Something of each sort in the other area, and a token of who has a role in the village only."""
    control = collector.control
    await asyncio.to_thread(add_site, control, "gate-2", area=OTHER)
    knock = event(ButtonPressed(action="knock"), "reader")
    await collector.deliver("gate-2", knock)
    letters = [DeadLetter(agent, "village/1/agent/gate-2/event", T0, "not JSON", b"knock") for agent in ("gate-2", "")]
    await asyncio.to_thread(control.store_dead_letters, letters)
    collector.telemetry.samples["gate-2", "reader", "reader", "online"] = [Sample(T0, True)]
    hashed = await collector.deps.people.passwords.hash(PASSWORD)
    await asyncio.to_thread(add_person, control, "stranger", Grant("administrator", OTHER), password=hashed)
    token = await asyncio.to_thread(add_token, control, "stranger", now=T0)
    async with collector.client(token) as stranger:
        body: dict[str, Any] = {"target": {"agent": "gate-2", "device": "reader"}, "arguments": {"kind": "unlock"}}
        command = document(await stranger.post("/commands", json=body), "command", 202)["id"]
        stop = {"target": {"area": OTHER}, "arguments": {"kind": "stop"}}
        document(await stranger.post("/commands", json=stop), "command", 202)
        shown = document(await stranger.get("/me"), "me")["token"]["id"]
        document(await stranger.get("/commands"), "commands")
    await asyncio.to_thread(add_person, control, "caller", Grant(role, VILLAGE), password=hashed)
    place = Place("gate-2", OTHER, "stranger", command, shown)
    return await asyncio.to_thread(add_token, control, "caller", now=T0), Foreign(place, str(knock.id))


@pytest.mark.parametrize("role", ROLES)
async def test_no_operation_reaches_another_area(collector: Collector, role: Role) -> None:
    collector.app.state.deps = replace(collector.deps, picture_seconds=0.05)
    token, foreign = await fill(collector, role)
    sent = len(collector.outbox.sent)
    async with collector.client(token) as client:
        for operation in operations(collector.app):
            if operation in _OWN or TABLE[operation]["nobody"] == "public":
                continue
            method, path, ask = request(operation, foreign.place)
            answer = await client.request(method, path, params=ask.query, json=ask.body)
            told = answer.text
            if not answer.is_success:
                # Of what is asked for by name the answer is that of what does not exist, or names the right that is missing.
                assert answer.status_code in {403, 404}, (operation, told)
                assert "gate-1" not in told
                continue
            assert method == "GET", (operation, told)
            for secret in SECRETS:
                assert secret not in told, (operation, told)
    assert len(collector.outbox.sent) == sent
    # What was there is as it was.
    assert (await asyncio.to_thread(collector.control.token, foreign.place.token)) is not None
    person = await asyncio.to_thread(collector.control.person, "stranger")
    assert person is not None
    assert (person.disabled, person.grants) == (False, (Grant("administrator", OTHER),))


@pytest.mark.parametrize("query", [{"area": OTHER}, {"agent": "gate-2"}, {"area": TOWNSHIP}, {}])
async def test_no_filter_reaches_another_area(collector: Collector, query: dict[str, str]) -> None:
    token, foreign = await fill(collector, "administrator")
    async with collector.client(token) as client:
        for path in ("/health", "/agents", "/devices", "/events", "/commands", "/dead-letters", "/audit"):
            answer = await client.get(path, params=query)
            assert answer.is_success, answer.text
            for secret in SECRETS:
                assert secret not in answer.text, path
        ring = event(ButtonPressed(action="ring"), "reader")
        await collector.deliver("gate-1", ring)
        await collector.deliver("gate-2", event(ButtonPressed(action="knock"), "reader"))
        found = document(await client.get("/events", params={**query, "after": foreign.event}), "events")["events"]
        assert {row["agent"] for row in found} <= {"gate-1"}
        if query in ({}, {"area": TOWNSHIP}):
            assert [row["id"] for row in found] == [str(ring.id)]
        health = document(await client.get("/health", params=query), "health")
        assert sum(health["summary"].values()) == len(health["devices"])


async def test_an_unknown_target_and_a_hidden_one_have_the_same_answer(collector: Collector) -> None:
    token, _ = await fill(collector, "door_keeper")
    async with collector.client(token) as client:

        async def answer(agent: str, device: str | None, method: str, path: str, body: Any = None) -> str:
            found = await client.request(method, path, json=body)
            return found.text.replace(agent, "AGENT") + str(found.status_code)

        for device in ("reader", "lamp", None):
            target = {} if device is None else {"device": device}
            answers = {
                await answer(
                    agent, device, "POST", "/commands",
                    {"target": {"agent": agent, **target}, "arguments": {"kind": "unlock"}},
                )
                for agent in ("gate-2", "gate-9")
            }  # fmt: skip
            assert len(answers) == 1
        for path in ("/devices/{}/reader", "/devices/{}/reader/history?field=online", "/devices/{}/agent"):
            answers = {await answer(agent, None, "GET", path.format(agent)) for agent in ("gate-2", "gate-9")}
            assert len(answers) == 1
        answers = {
            await answer(agent, None, "POST", f"/cameras/{agent}/camera/snapshot") for agent in ("gate-2", "gate-9")
        }
        assert len(answers) == 1


async def test_a_whole_area_is_needed_for_a_command_to_it(collector: Collector) -> None:
    token, _ = await fill(collector, "broadcaster")
    async with collector.client(token) as client:
        body: dict[str, Any] = {"target": {"area": TOWNSHIP}, "arguments": {"kind": "stop"}}
        detail = problem(await client.post("/commands", json=body), 403)
        assert detail == f"this needs the right 'broadcast' in area {TOWNSHIP}, which caller does not have"
        assert problem(await client.post("/commands", json=body | {"target": {"area": OTHER}}), 404) == (
            f"no agent in area {OTHER}"
        )
        mine = document(await client.post("/commands", json=body | {"target": {"area": VILLAGE}}), "command", 202)
        assert [row["id"] for row in document(await client.get("/commands"), "commands")["commands"]] == [mine["id"]]
        body["arguments"] = {"kind": "unlock"}
        body["target"] = {"agent": "gate-1"}
        assert "'unlock'" in problem(await client.post("/commands", json=body), 403)


async def test_an_agent_that_has_told_no_area_is_seen_from_everywhere_only(collector: Collector) -> None:
    await asyncio.to_thread(collector.control.touch, {"gate-7": T0})
    token, _ = await fill(collector, "administrator")
    async with collector.client(token) as client:
        assert "gate-7" not in (await client.get("/agents")).text
        problem(await client.get("/devices/gate-7/agent"), 404)


async def test_a_token_may_have_less_than_its_person_and_never_more(collector: Collector) -> None:
    token, _ = await fill(collector, "administrator")
    narrow = (Grant("viewer", VILLAGE), Grant("administrator", OTHER), Grant("door_keeper", f"{VILLAGE}-g01"))
    less = await asyncio.to_thread(add_token, collector.control, "caller", narrowed=narrow, now=T0, api=True)
    async with collector.client(less) as client:
        assert {row["agent"] for row in document(await client.get("/agents"), "agents")["agents"]} == {"gate-1"}
        problem(await client.get("/dead-letters"), 403)
        problem(await client.get("/persons"), 403)
        body = {"target": {"agent": "gate-1"}, "arguments": {"kind": "unlock"}}
        problem(await client.post("/commands", json=body), 403)
    async with collector.client(token) as client:
        assert (await client.post("/commands", json=body)).status_code == 202
