"""Every operation of the OpenAPI document as each role, compared with the table beside this file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.collector.api.conftest import Collector
from tests.collector.api.operations import COLUMNS, PASSWORD, ROLES, Place, operations, request, role_table
from tests.collector.kit import T0, VILLAGE
from tests.collector.people import add_person, add_token
from village_collector.api.commands import ACTIONS, RIGHTS_OF_KINDS
from village_collector.api.problems import ADVICE
from village_collector.people.rights import RIGHTS, RIGHTS_OF, Grant, Role
from village_wire.commands import ABILITIES

TABLE = role_table()
#: Routes that need more than their right somewhere.
EVERYWHERE_ONLY = {"GET /audit/entries", "GET /audit/seals"}


async def told(client: httpx.AsyncClient, operation: str, place: Place) -> str:
    """What the API makes of a request, in the words of the table."""
    method, path, ask = request(operation, place)
    answer = await client.request(method, path, params=ask.query, json=ask.body)
    # A request of a bad form would be judged by that.
    assert answer.status_code != 500, answer.text
    assert answer.status_code != 422 or operation in {
        "POST /enrolments",
        "POST /renewals",
        "PUT /audio",
        "POST /cap",
    }, answer.text
    if answer.is_success:
        return "allowed"
    advice = answer.json()["advice"]["en"]
    if answer.status_code == 401 and advice == ADVICE["login"][0]:
        assert answer.headers["www-authenticate"] == "Bearer"
        return "login"
    if answer.status_code == 403 and advice == ADVICE["right"][0]:
        return "forbidden"
    return "allowed"


def prepare(collector: Collector, hashed: str, role: Role | None) -> tuple[str, Place]:
    """A token of a new person with a role in the village, and what they ask for."""
    add_person(collector.control, "neighbour", Grant("viewer", VILLAGE), password=hashed)
    if role is None:
        return "", Place()
    add_person(collector.control, "caller", Grant(role, VILLAGE), password=hashed)
    return add_token(collector.control, "caller", now=T0), Place()


async def test_each_operation_has_a_row_and_each_row_an_operation(collector: Collector) -> None:
    assert set(operations(collector.app)) == set(TABLE)


@pytest.mark.parametrize("column", COLUMNS)
async def test_the_table(collector: Collector, column: str) -> None:
    collector.app.state.deps = replace(collector.deps, picture_seconds=0.05)
    hashed = await collector.deps.people.passwords.hash(PASSWORD)
    role = next((role for role in ROLES if role == column), None)
    secret, place = await asyncio.to_thread(prepare, collector, hashed, role)
    found = {}
    # Last what ends the caller's session.
    order = sorted(operations(collector.app), key=lambda operation: operation == "POST /logout")
    async with collector.client(secret) as client:
        for operation in order:
            found[operation] = await told(client, operation, place)
    expected = {operation: row[column] for operation, row in TABLE.items()}
    public = {operation: "allowed" if word == "public" else word for operation, word in expected.items()}
    assert found == public


async def test_the_openapi_document_says_the_same_as_the_table(collector: Collector) -> None:
    for operation, entry in operations(collector.app).items():
        row = TABLE[operation]
        if row["nobody"] == "public":
            assert (entry["security"], "x-right" in entry) == ([], False)
            continue
        assert entry["security"] == [{"bearer": []}]
        right = entry["x-right"]
        assert right in {"login", *RIGHTS}
        if operation.startswith("POST /commands "):
            right = entry["x-right-by-kind"][operation.rpartition(" ")[2]]
        holders = {role for role in ROLES if right == "login" or right in RIGHTS_OF[role]}
        allowed = {role for role in ROLES if row[role] == "allowed"}
        assert allowed == (set() if operation in EVERYWHERE_ONLY else holders), operation


async def test_who_administers_everything_may_do_everything(collector: Collector, client: httpx.AsyncClient) -> None:
    for operation in EVERYWHERE_ONLY:
        method, path, _ = request(operation, Place())
        assert (await client.request(method, path)).status_code == 200


def test_every_kind_of_command_needs_a_right() -> None:
    assert RIGHTS_OF_KINDS.keys() == ABILITIES.keys() == ACTIONS.keys()


def authorization(*values: str) -> list[tuple[str, str]]:
    return [("authorization", value) for value in values]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        authorization(""),
        authorization("Bearer"),
        authorization("Bearer "),
        authorization("Bearer vt1." + "x" * 43),
        authorization("Bearer vt1." + "x" * 44),
        authorization("Bearer " + "x" * 4000),
        authorization("Basic Y2hpZWY6Y2hpZWY="),
    ],
)
async def test_the_same_answer_for_whatever_is_no_valid_token(
    collector: Collector, headers: list[tuple[str, str]]
) -> None:
    async with collector.client("") as client:
        answer = await client.get("/health", headers=headers)
        plain = await client.get("/health")
    assert (answer.status_code, answer.content, answer.headers) == (401, plain.content, plain.headers)


async def test_neither_two_tokens_nor_one_in_the_address_are_taken(
    collector: Collector, client: httpx.AsyncClient
) -> None:
    good = client.headers["authorization"]
    async with collector.client("") as other:
        assert (await other.get("/health", headers=authorization(good))).status_code == 200
        assert (await other.get("/health", headers=authorization(good.replace("Bearer", "bearer ")))).status_code == 200
        assert (await other.get("/health", headers=authorization(good, good))).status_code == 401
        query: dict[str, Any] = {"access_token": good.removeprefix("Bearer "), "token": good}
        assert (await other.get("/health", params=query)).status_code == 401
