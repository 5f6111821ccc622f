"""Persons: who may add, change and see whom, and that somebody always may."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE
from tests.collector.people import ADMINISTRATOR, add_caller, add_person, add_token, bearer
from village_collector.people.rights import Grant


def granted(role: str, area: str = VILLAGE) -> dict[str, str]:
    return {"role": role, "area": area}


async def add(client: httpx.AsyncClient, person: str, *grants: dict[str, str]) -> dict[str, Any]:
    return document(await client.post("/persons", json={"person": person, "grants": grants}), "person", 201)


async def names(client: httpx.AsyncClient) -> set[str]:
    return {row["person"] for row in document(await client.get("/persons"), "persons")["persons"]}


@pytest.fixture
async def village(collector: Collector) -> httpx.AsyncClient:
    """An administrator of the village only."""
    token = await asyncio.to_thread(add_caller, collector.control, "mayor", Grant("administrator", VILLAGE), now=T0)
    return collector.client(token)


async def test_a_person_from_the_first_day_to_the_last(collector: Collector, client: httpx.AsyncClient) -> None:
    made = await add(client, "Wang", granted("viewer"), granted("broadcaster"))
    assert made["person"] == {
        "person": "wang",
        "created": "2026-11-24T08:01:00.000000Z",
        "disabled": False,
        "grants": [granted("broadcaster"), granted("viewer")],
        "totp": False,
        "password": "initial",
        "initial_until": "2026-11-27T08:01:00.000000Z",
    }
    assert "there is a person wang" in problem(
        await client.post("/persons", json={"person": "wang", "grants": [granted("viewer")]}), 409
    )
    wang = collector.client("")
    body = {"person": "wang", "password": made["initial_password"], "new_password": "a word of my own"}
    wang.headers.update(bearer(document(await wang.post("/login", json=body), "login")["token"]))
    say = {"targets": [{"area": VILLAGE}], "text": "大家好"}
    assert (await wang.post("/broadcasts", json=say)).status_code == 202
    # A role that is taken away holds no more, and one that is given holds, without a new login.
    found = document(await client.delete("/persons/wang/grants", params=granted("broadcaster")), "person")
    assert found["person"]["grants"] == [granted("viewer")]
    problem(await wang.post("/broadcasts", json=say), 403)
    document(await client.post("/persons/wang/grants", json=granted("broadcaster", TOWNSHIP)), "person")
    assert (await wang.post("/broadcasts", json=say)).status_code == 202
    assert document(await client.get("/persons/wang"), "person")["person"]["password"] == "own"
    assert document(await client.post("/persons/wang/disable"), "person")["person"]["disabled"] is True
    problem(await wang.get("/me"), 401)
    document(await client.post("/persons/wang/enable"), "person")
    problem(await wang.get("/me"), 401)
    del body["new_password"]
    body["password"] = "a word of my own"
    wang.headers.update(bearer(document(await wang.post("/login", json=body), "login")["token"]))
    reset = document(await client.post("/persons/wang/password"), "person")
    assert reset["initial_password"] != made["initial_password"]
    problem(await wang.get("/me"), 401)
    problem(await wang.post("/login", json=body), 401)
    collector.now += timedelta(days=3)
    late = {"person": "wang", "password": reset["initial_password"], "new_password": "a word of my own"}
    problem(await wang.post("/login", json=late), 401)


async def test_an_administrator_of_a_village_gives_what_they_hold(village: httpx.AsyncClient) -> None:
    await add(village, "li", granted("door_keeper"), granted("administrator", f"{VILLAGE}-g01"))
    for grant in (granted("viewer", OTHER), granted("viewer", TOWNSHIP), granted("administrator", "")):
        for path, body in (
            ("/persons", {"person": "new", "grants": [granted("viewer"), grant]}),
            ("/persons/li/grants", grant),
        ):
            assert "'administer'" in problem(await village.post(path, json=body), 403)
    assert await names(village) == {"li", "mayor"}


async def test_who_holds_something_elsewhere_is_out_of_reach(
    collector: Collector, client: httpx.AsyncClient, village: httpx.AsyncClient
) -> None:
    await add(client, "both", granted("viewer"), granted("viewer", OTHER))
    await asyncio.to_thread(add_person, collector.control, "without")
    assert await names(village) == {"mayor"}
    assert await names(client) == {"mayor", "both", "without", "chief"}
    for person in ("both", "without", "chief", "nobody"):
        answers = [
            await village.get(f"/persons/{person}"),
            await village.post(f"/persons/{person}/grants", json=granted("viewer")),
            await village.delete(f"/persons/{person}/grants", params=granted("viewer")),
            await village.post(f"/persons/{person}/disable"),
            await village.post(f"/persons/{person}/enable"),
            await village.post(f"/persons/{person}/password"),
            await village.get("/tokens", params={"person": person}),
        ]
        assert {problem(answer, 404) for answer in answers} == {f"no person {person} whom you administer"}
    chief = document(await client.get("/persons/both"), "person")["person"]
    assert (chief["grants"], chief["disabled"]) == ([granted("viewer"), granted("viewer", OTHER)], False)


async def test_somebody_always_administers_everything(collector: Collector, client: httpx.AsyncClient) -> None:
    hashed = await collector.deps.people.passwords.hash("a word of my own")
    await asyncio.to_thread(collector.control.set_password, "chief", hashed, kept="")
    token = await asyncio.to_thread(add_token, collector.control, "chief", now=T0)
    client.headers.update(bearer(token))
    # Neither of these could take over.
    await asyncio.to_thread(add_person, collector.control, "passwordless", ADMINISTRATOR)
    await asyncio.to_thread(add_person, collector.control, "disabled", ADMINISTRATOR, password=hashed)
    document(await client.post("/persons/disabled/disable"), "person")
    told = "chief is the last who administers everything"
    everywhere = granted("administrator", "")
    assert problem(await client.delete("/persons/chief/grants", params=everywhere), 409) == told
    assert problem(await client.post("/persons/chief/disable"), 409) == told
    document(await client.post("/persons/disabled/enable"), "person")
    # Two who take one another's role away at once: one of them remains.
    other = collector.client(await asyncio.to_thread(add_token, collector.control, "disabled", now=T0))
    answers = await asyncio.gather(
        client.delete("/persons/disabled/grants", params=everywhere),
        other.delete("/persons/chief/grants", params=everywhere),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 403], [200, 409], [200, 404])


async def test_what_is_no_name(client: httpx.AsyncClient) -> None:
    for name in ("", "a b", "-x", "x" * 41, "a/b", "a\nb", "é\u0000"):
        answer = await client.post("/persons", json={"person": name, "grants": [granted("viewer")]})
        assert problem(answer, 422).startswith("body.person")
    for grants in ([], [granted("emperor")], [granted("viewer", "4419")]):
        problem(await client.post("/persons", json={"person": "x", "grants": grants}), 422)


async def test_chinese_names(client: httpx.AsyncClient) -> None:
    await add(client, "陈站长", granted("broadcaster"))
    assert document(await client.get("/persons/陈站长"), "person")["person"]["person"] == "陈站长"


async def test_tokens_of_programs(collector: Collector, client: httpx.AsyncClient) -> None:
    made = document(await client.post("/tokens", json={"label": "大屏", "days": 30}), "token", 201)
    script = collector.client(made["secret"])
    assert document(await script.get("/me"), "me")["token"]["kind"] == "api"
    (row,) = [row for row in document(await client.get("/tokens"), "tokens")["tokens"] if row["kind"] == "api"]
    assert row == made["token"] | {"last_used": "2026-11-24T08:01:00.000000Z"}
    assert (row["label"], row["grants"], row["expires"]) == ("大屏", None, "2026-12-24T08:01:00.000000Z")
    assert made["secret"] not in (await client.get("/tokens")).text
    # What would outlive its revocation it can't do.
    needs = "this needs the session of a login, not a token of a program"
    password = {"password": "x", "new_password": "a word of my own"}
    assert problem(await script.post("/tokens", json={"label": "more", "days": 366}), 403) == needs
    assert problem(await script.put("/me/password", json=password), 403) == needs
    assert problem(await script.post("/me/totp", json={}), 403) == needs
    assert problem(await script.delete(f"/tokens/{'0' * 16}"), 403) == needs
    assert (await client.delete(f"/tokens/{row['id']}")).status_code == 204
    problem(await script.get("/me"), 401)
    problem(await client.delete(f"/tokens/{row['id']}"), 404)
    for days in (0, 367, 1.5):
        problem(await client.post("/tokens", json={"label": "x", "days": days}), 422)


async def test_a_token_is_narrowed_to_what_its_person_has(collector: Collector, village: httpx.AsyncClient) -> None:
    wide = {"label": "x", "days": 1, "grants": [granted("viewer", TOWNSHIP)]}
    assert "'look'" in problem(await village.post("/tokens", json=wide), 403)
    narrow = wide | {"grants": [granted("viewer")]}
    made = document(await village.post("/tokens", json=narrow), "token", 201)
    script = collector.client(made["secret"])
    problem(await script.get("/persons"), 403)
    assert (await script.get("/health")).status_code == 200
    # The person's roles shrink, and the token with them.
    await asyncio.to_thread(collector.control.revoke_grant, "mayor", Grant("administrator", VILLAGE), lambda _: True)
    collector.deps.people.forget()
    problem(await script.get("/health"), 403)


async def test_an_administrator_ends_the_tokens_of_whom_they_administer(
    collector: Collector, village: httpx.AsyncClient
) -> None:
    token = await asyncio.to_thread(add_caller, collector.control, "li", Grant("viewer", VILLAGE), now=T0)
    stranger = await asyncio.to_thread(add_caller, collector.control, "far", Grant("viewer", OTHER), now=T0)
    (row,) = document(await village.get("/tokens", params={"person": "li"}), "tokens")["tokens"]
    assert (await village.delete(f"/tokens/{row['id']}")).status_code == 204
    problem(await collector.client(token).get("/me"), 401)
    far = document(await collector.client(stranger).get("/me"), "me")["token"]["id"]
    problem(await village.delete(f"/tokens/{far}"), 404)
    assert (await collector.client(stranger).get("/me")).status_code == 200


async def test_nobody_has_more_than_fifty_tokens(collector: Collector, client: httpx.AsyncClient) -> None:
    for _ in range(50):
        await asyncio.to_thread(add_token, collector.control, "chief", now=T0, api=True)
    assert "50 tokens already" in problem(await client.post("/tokens", json={"label": "x", "days": 1}), 409)
