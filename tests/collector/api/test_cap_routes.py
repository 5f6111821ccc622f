"""Alerts over HTTP: brought by a person and signed by a source, listed within areas, with the coverage that receipts prove."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import capparser  # type: ignore[import-untyped]
import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.cap.kit import Sender, rainstorm
from tests.collector.kit import T0, TOWNSHIP, VILLAGE, add_site, at, entry, event
from tests.collector.people import add_person, add_token
from village_collector.cap.alert import Alert, Pair, Place
from village_collector.cap.document import MAX_BYTES
from village_collector.cap.reading import read_alert
from village_collector.people.rights import Grant, Role
from village_collector.stores.control import ControlStore
from village_wire.broadcasts import Stage
from village_wire.events import Event, Receipt

NEXT = "441900003002"
XML = {"content-type": "application/cap+xml"}


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


def alert(info: dict[str, Any] | None = None, **more: Any) -> Alert:
    township = {"places": (Place("示例镇", (Pair("行政区划代码", "441900003"),)),), "expires": T0 + timedelta(hours=3)}
    return rainstorm(township | (info or {}), sent=at(60), **more)


async def bring(
    client: httpx.AsyncClient, collector: Collector, content: Alert | bytes, status: int = 202, **query: str
) -> dict[str, Any]:
    signed = collector.signer.sign(content)
    return document(await client.post("/cap", content=signed, headers=XML, params=query), "alert", status)


def receipt(broadcast: str, stage: Stage, seconds: float) -> Event:
    return event(Receipt(broadcast=UUID(broadcast), stage=stage), "speaker", time=at(seconds))


async def test_an_alert_and_what_was_heard_of_it(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", entry("speaker", "loudspeaker"), area=NEXT)
    made = await bring(client, collector, alert())
    assert (made["new"], made["feed"], made["person"], made["status"]) == (True, "province", "chief", "Actual")
    assert (made["sender"], made["identifier"], made["sent"][:19]) == (
        "qixiang@warning.example.cn",
        "rain-1",
        "2026-11-24T08:01:00",
    )
    (one,) = made["broadcasts"]
    assert (one["state"], one["rank"], one["areas"]) == ("aired", "emergency", [TOWNSHIP])
    assert (one["counts"]["expected"], one["counts"]["heard"], one["counts"]["coverage"]) == (2, 0, 0.0)
    name = one["broadcast"]
    await collector.deliver("gate-1", receipt(name, "started", 61), receipt(name, "finished", 70))
    found = document(await client.get(f"/cap/alerts/{made['id']}"), "alert")
    (one,) = found["broadcasts"]
    assert (one["counts"]["heard"], one["counts"]["coverage"]) == (1, 50.0)
    assert [(row["area"], row["expected"], row["heard"]) for row in one["coverage"]] == [
        (TOWNSHIP, 2, 1),
        (VILLAGE, 1, 1),
        (NEXT, 1, 0),
    ]
    again = await bring(client, collector, alert(), 200)
    assert again["new"] is False
    assert again["broadcasts"] == found["broadcasts"]
    listed = document(await client.get("/cap/alerts"), "alerts")["alerts"]
    assert [(row["id"], row["broadcasts"][0]["counts"]["heard"]) for row in listed] == [(made["id"], 1)]
    # It is a broadcast like any other.
    assert document(await client.get(f"/broadcasts/{name}"), "broadcast")["counts"]["heard"] == 1


async def test_a_sender_is_answered_in_its_own_language(collector: Collector, client: httpx.AsyncClient) -> None:
    signed = collector.signer.sign(alert())
    answer = await client.post("/cap", content=signed, headers=XML | {"accept": "application/cap+xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/cap+xml")
    first = read_alert(answer.content)
    assert (first.message_type, first.status, first.references) == ("Ack", "Actual", (alert().reference,))
    assert (first.sender, first.addresses) == (
        "village-collector@collector.village.example",
        ("qixiang@warning.example.cn",),
    )
    broadcast = str(collector.outbox.commands()[0].id)
    await collector.deliver("gate-1", receipt(broadcast, "finished", 70))
    later = await client.get(f"/cap/alerts/{first.identifier}", headers={"accept": "application/cap+xml"})
    # As another program reads it.
    theirs = capparser.parse(stringXML=later.content)
    assert str(theirs.getMsgType()) == "Ack"
    assert theirs.getReferences() == "qixiang@warning.example.cn,rain-1,2026-11-24T08:01:00-00:00"
    assert theirs.getNote() == (
        "info 1, emergency, in 441900003000: aired, heard by 1 of 1 loudspeakers (100 %), sounding 0, waiting 0, failed 0, unknown 0"
    )
    # An acknowledgement is never aired by another collector.
    made = await bring(client, collector, later.content)
    assert made["not_aired"][0]["code"] == "message_type"
    assert len(collector.outbox.sent) == 1


async def test_a_dry_run(collector: Collector, client: httpx.AsyncClient) -> None:
    shown = await bring(client, collector, alert(), 200, dry_run="true")
    assert (shown["id"], shown["dry_run"], shown["broadcasts"][0]["broadcast"]) == (None, True, None)
    assert shown["broadcasts"][0]["text"] == "暴雨橙色预警。请立即转移。"
    assert collector.outbox.sent == []
    assert document(await client.get("/cap/alerts"), "alerts")["alerts"] == []


async def test_what_is_not_aired_is_named(collector: Collector, client: httpx.AsyncClient) -> None:
    exercise = await bring(client, collector, alert(identifier="exercise", status="Exercise"))
    assert (exercise["broadcasts"], exercise["not_aired"][0]["code"]) == ([], "status")
    places = (Place("河边", polygons=("1,1 2,2 3,3 1,1",)), Place("x", (Pair("SAME", "006037"),)))
    drawn = await bring(client, collector, alert({"places": places}, identifier="drawn"))
    assert [row["reason"] for row in drawn["unmapped"]] == [
        "only a polygon or circle, no geocode",
        "a code of another country",
    ]
    assert drawn["not_aired"][0]["code"] == "no_area"
    assert collector.outbox.sent == []


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b"", 422, "not well-formed"),
        (b"<alert/>", 403, "not signed"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', 422, "DOCTYPE"),
        (Sender(begin=T0).sign(rainstorm()), 403, "not signed with a trusted certificate"),
        (b"<a>" + b" " * MAX_BYTES + b"</a>", 413, "over the limit"),
    ],
)
async def test_refusals(
    collector: Collector, client: httpx.AsyncClient, content: bytes, status: int, detail: str
) -> None:
    assert detail in problem(await client.post("/cap", content=content, headers=XML), status)
    assert collector.outbox.sent == []
    if status != 413:
        log = document(await client.get("/audit", params={"action": "broadcast.cap"}), "audit")["entries"]
        assert [(row["actor"], row["outcome"]) for row in log] == [("chief", "refused")]


async def test_a_contradiction(collector: Collector, client: httpx.AsyncClient) -> None:
    await bring(client, collector, alert())
    signed = collector.signer.sign(alert({"headline": "解除"}))
    assert "says something else" in problem(await client.post("/cap", content=signed, headers=XML), 409)


async def caller(collector: Collector, name: str, *grants: tuple[Role, str]) -> httpx.AsyncClient:
    given = [Grant(role, area) for role, area in grants]
    await asyncio.to_thread(add_person, collector.control, name, *given)
    return collector.client(await asyncio.to_thread(add_token, collector.control, name, now=T0))


async def test_a_good_signature_is_not_enough(collector: Collector, client: httpx.AsyncClient) -> None:
    signed = collector.signer.sign(alert())
    async with await caller(collector, "viewer", ("viewer", "")) as viewer:
        problem(await viewer.post("/cap", content=signed, headers=XML), 403)
    async with await caller(collector, "elsewhere", ("broadcaster", "110000000000")) as elsewhere:
        answer = await elsewhere.post("/cap", content=signed, headers=XML)
        assert "needs the right 'broadcast' in area 441900003000" in problem(answer, 403)
    assert collector.outbox.sent == []
    log = document(await client.get("/audit", params={"outcome": "refused"}), "audit")["entries"]
    assert ("elsewhere", "broadcast.cap", TOWNSHIP) in {(row["actor"], row["action"], row["area"]) for row in log}


async def test_each_sees_what_is_aired_in_their_areas(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", entry("speaker", "loudspeaker"), area=NEXT)
    made = await bring(client, collector, alert())
    async with await caller(collector, "near", ("viewer", NEXT)) as near:
        found = document(await near.get(f"/cap/alerts/{made['id']}"), "alert")
        assert found["broadcasts"][0]["counts"]["expected"] == 1
        assert [row["area"] for row in found["broadcasts"][0]["coverage"]] == [NEXT]
        (listed,) = document(await near.get("/cap/alerts"), "alerts")["alerts"]
        assert listed["broadcasts"][0]["counts"]["expected"] == 1
    async with await caller(collector, "far", ("viewer", "110000000000")) as far:
        problem(await far.get(f"/cap/alerts/{made['id']}"), 404)
        assert document(await far.get("/cap/alerts"), "alerts")["alerts"] == []
    problem(await client.get(f"/cap/alerts/{'0' * 32}"), 404)


async def test_a_list_by_identifier(collector: Collector, client: httpx.AsyncClient) -> None:
    for name in ("a", "b"):
        await bring(client, collector, alert(identifier=name))
    found = document(await client.get("/cap/alerts", params={"identifier": "a"}), "alerts")["alerts"]
    assert [row["identifier"] for row in found] == ["a"]
    newest = document(await client.get("/cap/alerts", params={"limit": 1}), "alerts")["alerts"]
    assert [row["identifier"] for row in newest] == ["b"]
