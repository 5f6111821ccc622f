"""What is done and what is refused stands in the log before anybody has an answer, and only those who administer a place see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import update

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.api.test_cameras import JPEG, PATH, asked, upload
from tests.collector.kit import OTHER, TOWNSHIP, VILLAGE, add_site, at, result
from tests.collector.people import add_caller
from village_collector.audit import Audit
from village_collector.people.rights import Grant, Role
from village_collector.ports import StoreUnavailable
from village_collector.refusals import MAX_REFUSALS
from village_collector.stores.audit_tables import audit_entries
from village_wire.audit import Seal
from village_wire.audit_verification import StoredEntry, Verifier
from village_wire.clocks import format_time
from village_wire.outgoing import Publication
from village_wire.signed import decode_public_key

UNLOCK = {"target": {"agent": "gate-1", "device": "reader"}, "arguments": {"kind": "unlock"}, "expires_in": 30}


async def someone(collector: Collector, role: Role, area: str = "", name: str = "") -> httpx.AsyncClient:
    token = await asyncio.to_thread(add_caller, collector.control, name or role, Grant(role, area), now=at(0))
    return collector.client(token)


async def acts(client: httpx.AsyncClient, **query: str | int) -> list[dict[str, Any]]:
    found = document(await client.get("/audit", params=query), "audit")["entries"]
    assert isinstance(found, list)
    return found


def told(entry: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(entry[name] for name in names)


async def test_a_command_is_recorded_before_it_is_sent(collector: Collector, client: httpx.AsyncClient) -> None:
    seen: list[list[dict[str, Any]]] = []
    real = collector.outbox.publish

    async def publish(message: Publication) -> None:
        seen.append(await acts(client))
        await real(message)

    collector.commands._publish = publish
    issued = document(await client.post("/commands", json=UNLOCK), "command", 202)
    (entry,) = seen[0]
    assert entry == {
        "number": 1,
        "time": format_time(at(60)),
        "actor": "chief",
        "address": "127.0.0.1",
        "action": "door.unlock",
        "target": "gate-1/reader",
        "area": VILLAGE,
        "outcome": "allowed",
        "reason": "",
        "command": issued["id"],
        "result": {
            "state": "waiting",
            "sent": None,
            "problem": "",
            "expected": 1,
            "answered": 0,
            "final": 0,
            "outcomes": {},
        },
    }
    await collector.deliver("gate-1", result(issued["id"], "done", "reader"))
    (entry,) = await acts(client)
    assert told(entry["result"], "state", "sent", "final", "outcomes") == ("done", True, 1, {"done": 1})


@pytest.mark.parametrize(
    ("arguments", "device", "action"),
    [
        ({"kind": "stop"}, "speaker", "broadcast.stop"),
        ({"kind": "indicate"}, "reader", "indicator.set"),
    ],
)
async def test_each_kind_has_its_name(
    client: httpx.AsyncClient, arguments: dict[str, str], device: str, action: str
) -> None:
    order = {"target": {"agent": "gate-1", "device": device}, "arguments": arguments}
    document(await client.post("/commands", json=order), "command", 202)
    (entry,) = await acts(client)
    assert told(entry, "action", "target") == (action, f"gate-1/{device}")
    area = {"target": {"area": TOWNSHIP}, "arguments": {"kind": "stop"}}
    document(await client.post("/commands", json=area), "command", 202)
    assert told((await acts(client))[0], "action", "target", "area") == ("broadcast.stop", TOWNSHIP, TOWNSHIP)


async def test_what_can_not_be_recorded_is_not_done(
    collector: Collector, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def record(*_: object, **__: object) -> None:
        raise StoreUnavailable("control store: disk full")

    monkeypatch.setattr(Audit, "record", record)
    assert "disk full" in problem(await client.post("/commands", json=UNLOCK), 503)
    assert collector.outbox.sent == []


async def test_a_command_that_comes_to_nothing_is_told(collector: Collector, client: httpx.AsyncClient) -> None:
    order = {**UNLOCK, "target": {"agent": "gate-1", "device": "speaker"}}
    problem(await client.post("/commands", json=order), 409)
    problem(await client.post("/commands", json={**UNLOCK, "expires_in": 3600}), 422)
    collector.outbox.broken = "no broker"
    problem(await client.post("/commands", json=UNLOCK), 503)
    found = [told(entry, "outcome", "reason") for entry in await acts(client)]
    assert found == [
        ("failed", "no broker"),
        ("allowed", ""),
        ("failed", "unlock takes an expires_in between 5 and 60 seconds"),
        ("failed", "device gate-1/speaker has no door"),
    ]


async def test_refusals_name_who_wanted_what(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "far-1", area=OTHER)
    async with await someone(collector, "viewer", TOWNSHIP) as viewer:
        problem(await viewer.post("/commands", json=UNLOCK), 403)
        problem(await viewer.post("/commands", json={**UNLOCK, "target": {"agent": "far-1", "device": "reader"}}), 404)
        problem(await viewer.post("/commands", json={**UNLOCK, "target": {"agent": "none", "device": "reader"}}), 404)
        problem(await viewer.get("/audit"), 403)
        problem(await viewer.get("/dead-letters"), 403)
    found = [
        told(entry, "actor", "address", "action", "target", "area", "outcome", "reason") for entry in await acts(client)
    ]
    who = ("viewer", "127.0.0.1")
    assert found[::-1] == [
        (*who, "door.unlock", "gate-1/reader", VILLAGE, "refused", "lacks the right 'unlock'"),
        (*who, "door.unlock", "far-1/reader", OTHER, "refused", "outside the areas that this person sees"),
        (*who, "door.unlock", "none/reader", "", "refused", "unknown target"),
        (*who, "request", "GET /api/v1/audit", "", "refused", "lacks the right 'administer'"),
        (*who, "request", "GET /api/v1/dead-letters", "", "refused", "lacks the right 'maintain'"),
    ]
    assert collector.outbox.sent == []


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"authorization": ""}, 401, "this needs a login: no valid token was shown"),
        ({"authorization": f"Bearer vt1.{'A' * 43}"}, 401, "this needs a login: no valid token was shown"),
        ({"host": "evil.example"}, 421, "this Host is not the collector's"),
        ({"origin": "http://evil.example"}, 403, "requests from other web pages are refused"),
        ({"sec-fetch-site": "cross-site"}, 403, "requests from other web pages are refused"),
    ],
)
async def test_unknown_callers(client: httpx.AsyncClient, headers: dict[str, str], status: int, reason: str) -> None:
    problem(await client.post("/commands?x=secret", json=UNLOCK, headers=headers), status)
    (entry,) = await acts(client)
    assert told(entry, "actor", "action", "target", "outcome", "reason") == (
        "",
        "request",
        "POST /api/v1/commands",
        "refused",
        reason,
    )


async def test_a_flood_of_unknown_callers(collector: Collector, client: httpx.AsyncClient) -> None:
    async with collector.client("") as unknown:
        answers = await asyncio.gather(*(unknown.get("/health") for _ in range(MAX_REFUSALS + 30)))
    assert {answer.status_code for answer in answers} == {401}
    assert len(await acts(client)) == MAX_REFUSALS
    await collector.audit.finish()
    assert (await acts(client))[0]["reason"].startswith("30 further refusals")


async def test_looking_at_a_picture_is_an_act(collector: Collector, client: httpx.AsyncClient) -> None:
    wanted = asyncio.create_task(client.post(PATH))
    command, arguments = await asked(collector)
    (entry,) = await acts(client)
    assert told(entry, "action", "target", "area", "command") == (
        "camera.snapshot",
        "gate-1/camera",
        VILLAGE,
        str(command),
    )
    assert "upload_token" not in str(entry)
    assert arguments.upload_token not in str(entry)
    assert (await upload(client, arguments, authorization="Bearer wrong")).status_code == 403
    assert (await upload(client, arguments)).status_code == 204
    assert (await wanted).content == JPEG
    look, bad_token, _ = await acts(client)
    assert told(look, "actor", "action", "target", "command") == ("chief", "camera.look", "gate-1/camera", str(command))
    assert told(bad_token, "actor", "action", "target", "reason") == (
        "",
        "request",
        f"POST /api/v1/uploads/{command}",
        "no picture is awaited with this token",
    )


async def test_a_picture_that_can_not_be_recorded_is_not_handed_over(
    collector: Collector, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = asyncio.create_task(client.post(PATH))
    _, arguments = await asked(collector)

    async def record(*_: object, **__: object) -> None:
        raise StoreUnavailable("control store: disk full")

    monkeypatch.setattr(Audit, "record", record)
    assert (await upload(client, arguments)).status_code == 204
    problem(await wanted, 503)


async def test_who_administers_a_place_sees_its_acts_only(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "far-1", area=OTHER)
    document(await client.post("/commands", json=UNLOCK), "command", 202)
    far = {**UNLOCK, "target": {"agent": "far-1", "device": "reader"}}
    document(await client.post("/commands", json=far), "command", 202)
    async with collector.client("") as unknown:
        await unknown.get("/health")
    async with await someone(collector, "administrator", TOWNSHIP) as local:
        assert [entry["target"] for entry in await acts(local)] == ["gate-1/reader"]
        assert await acts(local, area=OTHER) == []
        assert await acts(local, target="far-1/reader") == []
        for path in ("/audit/entries", "/audit/seals"):
            assert "administer" in problem(await local.get(path), 403)
        document(await local.get("/audit/key"), "audit-key")
    assert [entry["actor"] for entry in await acts(client, outcome="refused")] == ["administrator", "administrator", ""]


async def test_filters_and_pages(collector: Collector, client: httpx.AsyncClient) -> None:
    for number, name in enumerate(("a", "b", "c", "d")):
        collector.now = at(number)
        await collector.audit.record(name, "", "door.unlock", target=f"gate-{name}/lock", area=VILLAGE)
    assert [entry["actor"] for entry in await acts(client)] == ["d", "c", "b", "a"]
    assert [entry["actor"] for entry in await acts(client, after=1, limit=2)] == ["b", "c"]
    assert [entry["actor"] for entry in await acts(client, before=3)] == ["b", "a"]
    times = {"since": format_time(at(1)), "until": format_time(at(3))}
    assert [entry["actor"] for entry in await acts(client, **times)] == ["c", "b"]
    assert [entry["actor"] for entry in await acts(client, actor="c", action="door.", area=TOWNSHIP)] == ["c"]
    for query in ("outcome=done", "action=a%20b", "after=-1", "limit=1001", "since=yesterday", "area=1"):
        problem(await client.get(f"/audit?{query}"), 422)


async def test_the_raw_chain_can_be_verified(collector: Collector, client: httpx.AsyncClient) -> None:
    for number in range(7):
        await collector.audit.record(f"p{number}", "", "login")
        if number == 4:
            await collector.audit.seal()
    key = decode_public_key(document(await client.get("/audit/key"), "audit-key")["key"])
    rows: list[StoredEntry] = []
    while True:
        query = {"after": rows[-1].number if rows else 0, "limit": 3}
        page = document(await client.get("/audit/entries", params=query), "audit-entries")["entries"]
        if not page:
            break
        rows.extend(StoredEntry(row["number"], row["entry"], row["hash"], row["misfiled"]) for row in page)
    answer = document(await client.get("/audit/seals"), "audit-seals")
    assert answer["last"] == 5
    seals = [Seal(**{**seal, "time": collector.now}) for seal in answer["seals"]]
    assert len(rows) == 7
    assert list(Verifier(key).findings(rows, seals)) == []


async def test_a_destroyed_entry_is_listed_as_such(collector: Collector, client: httpx.AsyncClient) -> None:
    await collector.audit.record("li", "", "login")
    destroy = update(audit_entries).values(entry="{")
    write: Callable[..., object] = collector.control._database.write
    await asyncio.to_thread(write, lambda connection: connection.execute(destroy))
    (entry,) = await acts(client)
    assert told(entry, "number", "action", "outcome") == (1, "unreadable", "failed")
    assert "village audit verify" in entry["reason"]


async def test_a_purged_command_leaves_its_entry(collector: Collector, client: httpx.AsyncClient) -> None:
    issued = document(await client.post("/commands", json=UNLOCK), "command", 202)
    await asyncio.to_thread(collector.control.purge_events, at(100_000))
    (entry,) = await acts(client)
    assert (UUID(entry["command"]), entry["result"]) == (UUID(issued["id"]), None)
