"""Broadcasts over the API: issued to several targets, counted by what was heard, withdrawn, and only where the caller may."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import T0, TOWNSHIP, VILLAGE, add_site, at, entry, event, result, status
from tests.collector.people import add_person, add_token
from village_collector.people.rights import Grant
from village_collector.stores.control import ControlStore
from village_wire.broadcasts import Stage, Track
from village_wire.commands import Broadcast, Target, Withdraw
from village_wire.events import Event, Receipt

NEXT = "441900003002"
SPEAKER = entry("speaker", "loudspeaker", name="村口")
TEXT = {"text": "大家好", "targets": [{"area": TOWNSHIP}]}


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


async def issued(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    return document(await client.post("/broadcasts", json=TEXT | more), "broadcast", 202)


def receipt(broadcast: str, stage: Stage, seconds: float, *, device: str = "speaker", evidence: str = "") -> Event:
    return event(Receipt(broadcast=UUID(broadcast), stage=stage, evidence=evidence), device, time=at(seconds))


async def test_one_signed_command_reaches_a_whole_area(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", SPEAKER, area=NEXT)
    found = await issued(client, rank="alert", title="雨", times=3, pause=2.5, volume=60, chime=False, expires_in=600)
    (command,) = collector.outbox.commands()
    (message,) = collector.outbox.sent
    assert message.topic == f"village/1/area/{TOWNSHIP}/command"
    assert (message.qos, message.retain, message.expiry) == (1, False, 600)
    assert (str(command.id), command.issuer, command.expires) == (found["id"], "chief", at(660))
    assert command.arguments == Broadcast(
        rank="alert", title="雨", text="大家好", end=at(660), times=3, pause=2.5, volume=60, chime=False
    )
    assert found["counts"] == {
        "expected": 2,
        "heard": 0,
        "sounding": 0,
        "waiting": 2,
        "failed": 0,
        "unknown": 0,
        "coverage": 0.0,
    }
    assert (found["state"], found["sent"], found["issuer"], found["content"]["rank"]) == (
        "running",
        True,
        "chief",
        "alert",
    )


async def test_coverage_is_what_was_heard_by_area(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", SPEAKER, area=NEXT)
    await asyncio.to_thread(add_site, collector.control, "gate-3", SPEAKER, area=NEXT)
    await asyncio.to_thread(add_site, collector.control, "gate-4", SPEAKER, area=NEXT)
    first = await issued(client)
    name = first["id"]
    await collector.deliver("gate-1", receipt(name, "started", 61), receipt(name, "finished", 70, evidence="4.2 s"))
    await collector.deliver("gate-2", receipt(name, "started", 61))
    await collector.deliver("gate-3", result(name, "refused", None, reason="expired", time=at(62)))
    await asyncio.to_thread(collector.control.store_status, "gate-4", status(False), at(30))
    found = document(await client.get(f"/broadcasts/{name}"), "broadcast")
    counts = {key: found["counts"][key] for key in ("expected", "heard", "sounding", "waiting", "failed", "unknown")}
    assert counts == {"expected": 4, "heard": 1, "sounding": 1, "waiting": 0, "failed": 1, "unknown": 1}
    assert found["counts"]["coverage"] == 25.0
    assert [(row["area"], row["expected"], row["heard"]) for row in found["areas"]] == [
        (TOWNSHIP, 4, 1),
        (VILLAGE, 1, 1),
        (NEXT, 3, 0),
    ]
    rows = {row["agent"]: row for row in found["loudspeakers"]}
    assert rows["gate-1"] | {"started": rows["gate-1"]["started"][:19]} == {
        "agent": "gate-1",
        "device": "speaker",
        "name": "村口",
        "area": VILLAGE,
        "standing": "heard",
        "code": "",
        "reason": "",
        "stage": "finished",
        "evidence": "4.2 s",
        "started": "2026-11-24T08:01:01",
        "time": "2026-11-24T08:01:10.000000Z",
        "play": None,
        "position": None,
        "overrode": None,
    }
    assert (rows["gate-3"]["standing"], rows["gate-3"]["reason"]) == ("failed", "expired")
    assert (rows["gate-4"]["standing"], rows["gate-4"]["code"]) == ("unknown", "agent_offline")
    assert "offline since" in rows["gate-4"]["reason"]
    (listed,) = document(await client.get("/broadcasts"), "broadcasts")["broadcasts"]
    assert listed["counts"] == {
        "expected": 4,
        "heard": 1,
        "sounding": 1,
        "failed": 1,
        "open": 2,
        "coverage": 25.0,
    }


async def test_what_says_nothing_is_never_counted(collector: Collector, client: httpx.AsyncClient) -> None:
    name = (await issued(client))["id"]
    collector.now = at(119)
    assert document(await client.get(f"/broadcasts/{name}"), "broadcast")["state"] == "running"
    collector.now = at(60 + 60 + 16)
    found = document(await client.get(f"/broadcasts/{name}"), "broadcast")
    assert (found["state"], found["counts"]["unknown"], found["counts"]["heard"]) == ("over", 1, 0)
    assert found["loudspeakers"][0]["code"] == "no_receipt"


async def test_whoever_waits_is_told_at_once(collector: Collector, client: httpx.AsyncClient) -> None:
    first = await issued(client)
    name, seen = first["id"], first["revision"]
    waiting = asyncio.create_task(client.get(f"/broadcasts/{name}", params={"wait": 20, "seen": seen}))
    await asyncio.sleep(0)
    await collector.deliver("gate-1", receipt(name, "finished", 61))
    async with asyncio.timeout(5):
        found = document(await waiting, "broadcast")
    assert (found["state"], found["counts"]["heard"], found["revision"]) == ("done", 1, seen + 1)
    # What is final is told without waiting.
    async with asyncio.timeout(5):
        await client.get(f"/broadcasts/{name}", params={"wait": 20, "seen": seen + 1})


async def test_overlapping_targets_mean_each_loudspeaker_once(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", SPEAKER, entry("hall", "loudspeaker"), area=NEXT)
    found = await issued(
        client,
        targets=[
            {"agent": "gate-1", "device": "speaker"},
            {"area": VILLAGE},
            {"agent": "gate-2", "device": "hall"},
            {"agent": "gate-2", "device": "speaker"},
        ],
    )
    assert found["counts"]["expected"] == 3
    commands = collector.outbox.commands()
    assert [command.target for command in commands] == [
        Target(area=VILLAGE),
        Target(agent="gate-2", device="hall"),
        Target(agent="gate-2", device="speaker"),
    ]
    # An agent carries out each id once, so its second device has another one.
    assert [str(command.id) == found["id"] for command in commands] == [True, True, False]
    await collector.deliver("gate-2", receipt(str(commands[2].id), "finished", 61))
    await collector.deliver("gate-2", receipt(found["id"], "finished", 61, device="hall"))
    assert document(await client.get(f"/broadcasts/{found['id']}"), "broadcast")["counts"]["heard"] == 2


async def test_a_withdrawal_goes_where_the_broadcast_went(collector: Collector, client: httpx.AsyncClient) -> None:
    name = (await issued(client))["id"]
    found = document(await client.post(f"/broadcasts/{name}/withdraw", json={"reason": "a mistake"}), "broadcast")
    withdrawal = collector.outbox.commands()[-1]
    assert withdrawal.arguments == Withdraw(broadcast=UUID(name), reason="a mistake")
    assert withdrawal.target == Target(area=TOWNSHIP)
    assert (found["withdrawn"]["by"], found["withdrawn"]["reason"], found["withdrawn"]["sent"]) == (
        "chief",
        "a mistake",
        True,
    )
    await collector.deliver("gate-1", receipt(name, "cancelled", 62))
    after = document(await client.get(f"/broadcasts/{name}"), "broadcast")
    assert (after["state"], after["counts"]["failed"]) == ("done", 1)
    problem(await client.post(f"/broadcasts/{UUID(int=1)}/withdraw"), 404)


async def test_a_withdrawal_that_no_broker_takes_is_kept(collector: Collector, client: httpx.AsyncClient) -> None:
    name = (await issued(client))["id"]
    collector.outbox.broken = "no broker"
    assert "kept" in problem(await client.post(f"/broadcasts/{name}/withdraw"), 503)
    collector.outbox.broken = ""
    found = document(await client.get(f"/broadcasts/{name}"), "broadcast")
    assert (found["withdrawn"]["sent"], found["withdrawn"]["by"]) == (False, "chief")


async def test_what_was_not_sent_is_told(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.outbox.broken = "no broker"
    answer = await client.post("/broadcasts", json=TEXT)
    assert "not sent: no broker" in problem(answer, 503)
    found = document(await client.get(f"/broadcasts/{answer.json()['broadcast']}"), "broadcast")
    assert (found["sent"], found["problem"]) == (False, "no broker")
    assert found["targets"] == [{"target": {"area": TOWNSHIP}, "sent": False, "problem": "no broker"}]


async def test_what_can_not_be_is_refused(collector: Collector, client: httpx.AsyncClient) -> None:
    async def refused(**more: Any) -> str:
        return problem(await client.post("/broadcasts", json=TEXT | more), 422)

    assert "either a text" in await refused(text=None)
    assert "either end or expires_in" in await refused(end="2026-11-24T09:00:00Z", expires_in=60)
    assert "7 days" in await refused(end="2026-12-24T09:00:00Z")
    assert "7 days" in await refused(expires_in=2)
    assert "7 days" in await refused(start="9999-12-31T23:58:00Z", expires_in=60)
    assert "has passed" in await refused(start="2026-11-24T00:00:00Z", end="2026-11-24T09:00:00Z")
    assert "after it begins" in await refused(start="2026-11-24T09:00:00Z", end="2026-11-24T08:30:00Z")
    await refused(targets=[])
    await refused(times=0)
    await refused(unknown=1)
    assert "9999" in await refused(start="9999-12-31T23:59:59Z", expires_in=60)
    assert "no sound file" in problem(
        await client.post("/broadcasts", json={"targets": TEXT["targets"], "audio": "0" * 64}), 404
    )
    assert "no agent in area" in problem(
        await client.post("/broadcasts", json=TEXT | {"targets": [{"area": NEXT}]}), 404
    )
    await asyncio.to_thread(add_site, collector.control, "gate-2", entry("camera", "camera"), area=NEXT)
    assert "no loudspeaker" in problem(await client.post("/broadcasts", json=TEXT | {"targets": [{"area": NEXT}]}), 409)
    assert not collector.outbox.sent
    assert document(await client.get("/broadcasts"), "broadcasts")["broadcasts"] == []


async def test_who_may_speak_in_one_area_sees_and_does_nothing_elsewhere(
    collector: Collector, client: httpx.AsyncClient
) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", SPEAKER, area=NEXT)
    await asyncio.to_thread(add_person, collector.control, "li", Grant("broadcaster", VILLAGE))
    token = await asyncio.to_thread(add_token, collector.control, "li", now=T0)
    everywhere = (await issued(client))["id"]
    elsewhere = (await issued(client, targets=[{"area": NEXT}]))["id"]
    sent = len(collector.outbox.sent)
    async with collector.client(token) as li:
        for target in ({"area": NEXT}, {"agent": "gate-2"}):
            problem(await li.post("/broadcasts", json=TEXT | {"targets": [{"area": VILLAGE}, target]}), 404)
        assert "'broadcast' in area" in problem(await li.post("/broadcasts", json=TEXT), 403)
        assert "'broadcast' in area" in problem(await li.post(f"/broadcasts/{everywhere}/withdraw"), 403)
        problem(await li.post(f"/broadcasts/{elsewhere}/withdraw"), 404)
        problem(await li.get(f"/broadcasts/{elsewhere}"), 404)
        problem(await li.get(f"/broadcasts/{elsewhere}", params={"wait": 1}), 404)
        assert len(collector.outbox.sent) == sent
        # Of one that is for more than their area, they see the loudspeakers there.
        seen = document(await li.get(f"/broadcasts/{everywhere}"), "broadcast")
        assert [row["agent"] for row in seen["loudspeakers"]] == ["gate-1"]
        assert [row["area"] for row in seen["areas"]] == [VILLAGE]
        assert seen["counts"]["expected"] == 1
        (listed,) = document(await li.get("/broadcasts"), "broadcasts")["broadcasts"]
        assert (listed["id"], listed["counts"]["expected"]) == (everywhere, 1)
        own = document(await li.post("/broadcasts", json=TEXT | {"targets": [{"area": VILLAGE}]}), "broadcast", 202)
        document(await li.post(f"/broadcasts/{own['id']}/withdraw"), "broadcast")
    audit = document(await client.get("/audit"), "audit")["entries"]
    acts = [(row["action"], row["outcome"], row["target"]) for row in audit if row["actor"] == "li"]
    assert ("broadcast.issue", "allowed", VILLAGE) in acts
    assert ("broadcast.withdraw", "allowed", VILLAGE) in acts
    assert ("broadcast.issue", "refused", NEXT) in acts
    assert ("broadcast.withdraw", "refused", TOWNSHIP) in acts


async def test_a_track_of_the_card_is_issued_and_shown(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", entry("horn", "track_player"), area=NEXT)
    wanted = {"targets": [{"area": TOWNSHIP}], "track": {"folder": 2, "number": 15}, "category": "fire"}
    found = document(await client.post("/broadcasts", json=wanted), "broadcast", 202)
    (command,) = collector.outbox.commands()
    assert isinstance(command.arguments, Broadcast)
    assert command.arguments.track == Track(folder=2, number=15)
    assert (command.arguments.category, command.arguments.text, command.arguments.audio) == ("fire", None, None)
    assert found["content"]["track"] == {"folder": 2, "number": 15}
    assert {f"{one['agent']}/{one['device']}" for one in found["loudspeakers"]} == {"gate-1/speaker", "gate-2/horn"}
    listed = document(await client.get("/broadcasts"), "broadcasts")["broadcasts"][0]
    assert listed["content"]["track"] == {"folder": 2, "number": 15}


@pytest.mark.parametrize(
    "track", [{}, {"number": 0}, {"number": 10_000}, {"folder": 100, "number": 1}, {"number": 1, "foldr": 2}, 3]
)
async def test_what_is_no_track_is_refused(client: httpx.AsyncClient, track: object) -> None:
    problem(await client.post("/broadcasts", json={"targets": TEXT["targets"], "track": track}), 422)


async def test_a_track_and_a_text_are_two_broadcasts(client: httpx.AsyncClient) -> None:
    said = problem(await client.post("/broadcasts", json=TEXT | {"track": {"number": 1}}), 422)
    assert "either a text, a sound file, a track of the card or live voice" in said
