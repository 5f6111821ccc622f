"""What people and programs read from the collector."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import OTHER, T0, VILLAGE, add_site, at, event, state, status
from village_collector.ports import DeadLetter, Problem, Sample
from village_wire.events import ButtonPressed, Loss


async def test_health(collector: Collector, client: httpx.AsyncClient) -> None:
    await collector.deliver("gate-1", state("reader", "down", "tamper", evidence="外壳打开"), state("camera"))
    found = document(await client.get("/health"), "health")
    assert found["generated"] == "2026-11-24T08:01:00.000000Z"
    assert found["summary"] == {"ok": 2, "degraded": 0, "down": 1, "unknown": 1}
    assert found["collector"]["status"] == "ok"
    told = [(row["device"], row["status"], row["evidence"]) for row in found["devices"]]
    assert told == [
        ("reader", "down", "外壳打开"),
        ("speaker", "unknown", "no state since the agent's last start"),
        ("", "ok", "connected since 2026-11-24T08:00:00.000000Z"),
        ("camera", "ok", "the agent reports ok"),
    ]


async def test_health_of_a_part(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(add_site, collector.control, "gate-2", area=OTHER)
    await asyncio.to_thread(collector.control.store_status, "gate-2", status(False), at(5))
    found = document(await client.get("/health", params={"area": OTHER}), "health")
    assert {row["agent"] for row in found["devices"]} == {"gate-2"}
    assert found["devices"][0]["since"] == "2026-11-24T08:00:05.000000Z"
    found = document(await client.get("/health", params={"agent": "gate-1", "status": "ok"}), "health")
    assert [row["device"] for row in found["devices"]] == [""]
    assert found["summary"]["unknown"] == 3
    found = document(await client.get("/health?status=down&status=ok"), "health")
    assert [(row["agent"], row["device"]) for row in found["devices"]] == [("gate-2", ""), ("gate-1", "")]


async def test_health_tells_of_the_collector_itself(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.problems.append(Problem("store", T0, "disk full"))
    found = document(await client.get("/health"), "health")
    assert (found["collector"]["status"], found["collector"]["code"]) == ("down", "collector_lost")
    assert "disk full" in found["collector"]["evidence"]


async def test_agents(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(collector.control.touch, {"gate-9": at(3)})
    first, second = document(await client.get("/agents"), "agents")["agents"]
    assert first == {
        **dict.fromkeys(("enrolled", "revoked", "certificate_expires", "token_expires")),
        "agent": "gate-9",
        "area": "",
        "online": None,
        "session": None,
        "version": None,
        "since": None,
        "last_seen": "2026-11-24T08:00:03.000000Z",
        "devices": 0,
    }
    assert (second["agent"], second["online"], second["devices"], second["area"]) == ("gate-1", True, 3, VILLAGE)


async def test_devices(client: httpx.AsyncClient) -> None:
    found = document(await client.get("/devices"), "devices")["devices"]
    assert [(row["device"], row["abilities"], row["firmware"], row["name"]) for row in found] == [
        ("camera", ["camera"], "", ""),
        ("reader", ["door", "indicator"], "2.1", ""),
        ("speaker", ["loudspeaker", "file_player"], "", "村口"),
    ]
    assert document(await client.get("/devices", params={"agent": "gate-2"}), "devices")["devices"] == []


async def test_one_device(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.telemetry.samples["gate-1", "reader", "reader", "online"] = [Sample(T0, True)]
    rings = [event(ButtonPressed(action="ring"), "reader", time=at(n)) for n in range(25)]
    await collector.deliver("gate-1", *rings, event(ButtonPressed(action="other"), "camera"))
    found = document(await client.get("/devices/gate-1/reader"), "device")
    assert (found["device"]["device"], found["device"]["firmware"]) == ("reader", "2.1")
    assert found["readings"] == [
        {"kind": "reader", "field": "online", "value": True, "time": "2026-11-24T08:00:00.000000Z"}
    ]
    assert [row["id"] for row in found["events"]] == [str(ring.id) for ring in rings[:4:-1]]
    assert found["readings_problem"] == ""
    collector.telemetry.broken = "the telemetry store is away"
    found = document(await client.get("/devices/gate-1/reader"), "device")
    assert (found["readings"], found["readings_problem"]) == ([], "the telemetry store is away")
    assert "gate-1 has no device lamp" in problem(await client.get("/devices/gate-1/lamp"), 404)


async def test_an_agent_itself_is_a_device(collector: Collector, client: httpx.AsyncClient) -> None:
    for field, value in {"outbox_hours": 41.5, "outbox_waiting": 312, "outbox_age_s": 60.0, "lost": 5}.items():
        collector.telemetry.samples["gate-1", "agent", "agent", field] = [Sample(at(30), value)]
    lost = event(Loss(item_class="telemetry", reason="outbox full", count=5, first=T0, last=at(9)), time=at(20))
    await collector.deliver("gate-1", lost, event(ButtonPressed(action="ring"), "reader"), received=at(25))
    found = document(await client.get("/devices/gate-1/agent"), "device")
    row = found["device"]
    assert (row["device"], row["kind"], row["status"], row["code"]) == ("", "agent", "degraded", "data_lost")
    assert row["evidence"].startswith("5 of class telemetry lost (outbox full), dated 2026-11-24T08:00:00.000000Z to")
    assert row["buffer"] == {
        "hours": 41.5,
        "waiting": 312,
        "waiting_since": "2026-11-24T07:59:30.000000Z",
        "bytes": None,
        "time": "2026-11-24T08:00:30.000000Z",
    }
    assert [(entry["count"], entry["received"]) for entry in row["lost"]] == [(5, "2026-11-24T08:00:25.000000Z")]
    assert [reading["field"] for reading in found["readings"]] == sorted(
        ["lost", "outbox_age_s", "outbox_hours", "outbox_waiting"]
    )
    assert [told["kind"] for told in found["events"]] == ["loss"]
    (row,) = [row for row in document(await client.get("/health"), "health")["devices"] if not row["device"]]
    assert row["buffer"]["hours"] == 41.5
    path = "/devices/gate-1/agent/history"
    assert document(await client.get(path, params={"field": "outbox_hours"}), "history")["samples"] == [
        ["2026-11-24T08:00:30.000000Z", 41.5]
    ]
    assert all(row["device"] for row in document(await client.get("/devices"), "devices")["devices"])
    problem(await client.get("/devices/gate-7/agent"), 404)


async def test_health_needs_no_telemetry_store(collector: Collector, client: httpx.AsyncClient) -> None:
    collector.telemetry.broken = "the telemetry store is away"
    collector.telemetry.samples["gate-1", "agent", "agent", "outbox_hours"] = [Sample(at(30), 1.0)]
    assert {row["buffer"] for row in document(await client.get("/health"), "health")["devices"]} == {None}


async def test_history(collector: Collector, client: httpx.AsyncClient) -> None:
    samples = collector.telemetry.samples
    samples["gate-1", "box", "host", "temperature_c"] = [Sample(at(n), 40.0 + n) for n in range(5)]
    samples["gate-1", "box", "sensor", "temperature_c"] = [Sample(T0, 20.0)]
    samples["gate-1", "box", "sensor", "on"] = [Sample(T0, False)]
    path = "/devices/gate-1/box/history"
    found = document(await client.get(path, params={"field": "on"}), "history")
    assert (found["kind"], found["samples"]) == ("sensor", [["2026-11-24T08:00:00.000000Z", False]])
    query = {
        "field": "temperature_c",
        "kind": "host",
        "start": "2026-11-24T16:00:01+08:00",
        "end": "2026-11-24T08:00:03Z",
    }
    found = document(await client.get(path, params=query), "history")
    assert [value for _, value in found["samples"]] == [41.0, 42.0]
    assert "several kinds" in problem(await client.get(path, params={"field": "temperature_c"}), 422)
    detail = problem(await client.get(path, params={"field": "on", "kind": "host"}), 404)
    assert "no field host.on; it has: host.temperature_c, sensor.on, sensor.temperature_c" in detail
    assert "it has: none" in problem(await client.get("/devices/gate-1/lamp/history", params={"field": "on"}), 404)
    assert "start must be before" in problem(
        await client.get(path, params={"field": "on", "start": "2026-11-25T00:00:00Z"}), 422
    )
    collector.telemetry.broken = "away"
    assert problem(await client.get(path, params={"field": "on"}), 503) == "away"


async def test_events_and_following_them(collector: Collector, client: httpx.AsyncClient) -> None:
    ring, knock = (
        event(ButtonPressed(action="ring"), "reader", time=at(9)),
        event(ButtonPressed(action="knock"), "reader", time=at(1)),
    )
    await collector.deliver("gate-1", ring, received=at(10))
    found = document(await client.get("/events"), "events")
    assert found["events"] == [
        {
            "id": str(ring.id),
            "time": "2026-11-24T08:00:09.000000Z",
            "received": "2026-11-24T08:00:10.000000Z",
            "agent": "gate-1",
            "area": VILLAGE,
            "device": "reader",
            "kind": "button_pressed",
            "data": {"action": "ring"},
        }
    ]
    await collector.deliver("gate-1", knock, received=at(20))
    found = document(await client.get("/events", params={"after": str(ring.id)}), "events")
    assert [row["data"]["action"] for row in found["events"]] == ["knock"]
    assert found["cursor"] == str(knock.id)
    query = {
        "since": "2026-11-24T08:00:05Z",
        "kind": "button_pressed",
        "device": "reader",
        "agent": "gate-1",
        "area": VILLAGE,
    }
    found = document(await client.get("/events", params=query), "events")
    assert [row["data"]["action"] for row in found["events"]] == ["ring"]
    problem(await client.get("/events", params={"after": "0" * 32}), 404)


async def test_dead_letters(collector: Collector, client: httpx.AsyncClient) -> None:
    letter = DeadLetter("gate-1", "village/1/agent/gate-1/event", T0, "not JSON", "门\n".encode() + b"\xff")
    await asyncio.to_thread(collector.control.store_dead_letters, [letter])
    (found,) = document(await client.get("/dead-letters"), "dead-letters")["letters"]
    assert (found["agent"], found["reason"], found["content"]) == ("gate-1", "not JSON", "门\n\\xff")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/health?area=4419", "query.area"),
        ("/health?area=" + "4" * 100, "query.area"),
        ("/health?agent=Gate", "query.agent"),
        ("/health?status=fine", "query.status"),
        ("/events?limit=1001", "query.limit"),
        ("/events?limit=0", "query.limit"),
        ("/events?since=2026-11-24T08:00:00", "query.since"),
        ("/events?kind=" + "x" * 41, "query.kind"),
        ("/events?after=7", "query.after"),
        ("/devices/GATE/reader", "path.agent"),
        ("/devices/gate-1/" + "x" * 65, "path.device"),
        ("/devices/gate-1/box/history", "query.field"),
        ("/commands/7", "path.command"),
        ("/commands/00000000000000000000000000000000?wait=31", "query.wait"),
        ("/commands/00000000000000000000000000000000?wait=nan", "query.wait"),
    ],
)
async def test_bad_questions_name_their_place(client: httpx.AsyncClient, path: str, place: str) -> None:
    assert problem(await client.get(path), 422).startswith(place)


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nothing"), 404)
    problem(await client.delete("/health"), 405)


async def test_a_store_that_is_away_is_a_503(collector: Collector, client: httpx.AsyncClient) -> None:
    await asyncio.to_thread(collector.control.close)
    for path in ("/health", "/agents", "/devices", "/events", "/commands", "/dead-letters", "/devices/gate-1/reader"):
        assert "control store" in problem(await client.get(path), 503)


async def test_the_openapi_document_describes_every_operation(client: httpx.AsyncClient) -> None:
    found = (await client.get("/openapi.json")).json()
    operations = [operation for path in found["paths"].values() for operation in path.values()]
    assert len(operations) >= 12
    for operation in operations:
        assert operation["summary"]
        assert "。" in operation["description"]
        assert "default" in operation["responses"]
    assert "HealthDocument" in found["components"]["schemas"]
