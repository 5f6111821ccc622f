"""Programmes through the API: who may, what is refused, what is sent, and the report of what was heard."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site, event
from tests.collector.people import add_person, add_token
from village_collector.people.rights import Grant
from village_collector.stores.control import ControlStore
from village_wire.events import Receipt

AREA = {"area": VILLAGE}


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


def programme(identity: str = "morning", **more: Any) -> dict[str, Any]:
    when = {"start": "2026-11-25T06:30:00", "rule": "FREQ=DAILY"}
    return {
        "id": identity,
        "title": "早间防诈",
        "category": "anti_fraud",
        "when": when,
        "items": [{"text": "谨防诈骗"}],
        **more,
    }


async def change(client: httpx.AsyncClient, *programmes: dict[str, Any], target: dict[str, str] = AREA, **more: Any) -> httpx.Response:  # fmt: skip
    return await client.post("/schedules", json={"target": target, "programmes": list(programmes), **more})


async def test_programmes_are_added_changed_and_removed(client: httpx.AsyncClient, collector: Collector) -> None:
    first = document(await change(client, programme(), programme("evening")), "schedule")
    assert [one["id"] for one in first["programmes"]] == ["morning", "evening"]
    assert first["programmes"][0]["next"][0] == "2026-11-24T22:30:00.000000Z"
    assert (first["by"], first["target"]) == ("chief", AREA)
    second = document(await change(client, programme(title="新")), "schedule")
    assert [one["title"] for one in second["programmes"]] == ["新", "早间防诈"]
    assert second["number"] > first["number"]
    third = document(
        await client.post("/schedules/remove", json={"target": AREA, "programmes": ["evening"]}), "schedule"
    )
    assert [one["id"] for one in third["programmes"]] == ["morning"]
    fourth = document(await change(client, programme("only"), replace=True), "schedule")
    assert [one["id"] for one in fourth["programmes"]] == ["only"]
    (listed,) = document(await client.get("/schedules"), "schedules")["schedules"]
    assert listed["programmes"] == fourth["programmes"]
    entries = document(await client.get("/audit"), "audit")["entries"]
    acts = [(one["action"], one["target"], one["reason"]) for one in entries if one["action"].startswith("schedule")]
    assert acts[0] == ("schedule.change", VILLAGE, "in place of all: only")
    assert acts[1] == ("schedule.remove", VILLAGE, "evening")


async def test_a_loudspeaker_that_is_not_there_is_refused_and_an_area_without_one_is_told(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    for device, status, told in (("speeker", 404, "unknown device"), ("reader", 409, "has no loudspeaker")):
        target = {"agent": "gate-1", "device": device}
        assert told in problem(await change(client, programme(), target=target), status)
    assert document(await client.get("/schedules"), "schedules")["schedules"] == []
    entries = document(await client.get("/audit"), "audit")["entries"]
    assert [(one["target"], one["outcome"]) for one in entries if one["action"] == "schedule.change"] == [
        ("gate-1/reader", "failed"),
        ("gate-1/speeker", "failed"),
    ]
    assert document(await change(client, programme()), "schedule")["loudspeakers"] == 1
    tagged: dict[str, Any] = {"area": VILLAGE, "tags": ["nobody"]}
    assert document(await change(client, programme(), target=tagged), "schedule")["loudspeakers"] == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"when": {"start": "2026-11-25T06:30:00", "rule": "FREQ=SECONDLY"}}, "FREQ is one of"),
        (
            {"when": {"start": "2026-11-25T06:30:00", "rule": "FREQ=WEEKLY;BYDAY=MO"}},
            "not due at its start 2026-11-25T06:30",
        ),
        ({"when": {"start": "2026-11-25T06:30:00Z"}}, "no offset"),
        ({"when": {"start": "2026-11-25T06:30:00", "zone": "Mars/Base"}}, "unknown time zone"),
        ({"rank": "emergency"}, "notice"),
        ({"items": [{}]}, "either a text, a sound file or a track"),
        ({"items": []}, "at least 1"),
        ({"id": "no id"}, "pattern"),
    ],
)
async def test_what_is_no_programme_is_refused_with_the_reason(
    client: httpx.AsyncClient, more: dict[str, Any], told: str
) -> None:
    assert told in problem(await change(client, programme(**more)), 422)
    assert document(await client.get("/schedules"), "schedules")["schedules"] == []


async def test_too_much_is_refused_and_nothing_changed(client: httpx.AsyncClient) -> None:
    document(await change(client, *[programme(f"p{n}") for n in range(50)]), "schedule")
    assert "at most 50" in problem(await change(client, programme("p50")), 422)
    assert "same id" in problem(await change(client, programme(), programme()), 422)
    long = [{"text": "长" * 2000}] * 23
    assert "divide" in problem(await change(client, programme(items=long), replace=True), 422)
    (listed,) = document(await client.get("/schedules"), "schedules")["schedules"]
    assert len(listed["programmes"]) == 50


async def test_an_unknown_file_or_programme_is_told(client: httpx.AsyncClient) -> None:
    assert "no sound file" in problem(await change(client, programme(items=[{"audio": "0" * 64}])), 404)
    gone = {"target": AREA, "programmes": ["nothing"]}
    assert "no programme nothing" in problem(await client.post("/schedules/remove", json=gone), 404)


async def test_a_schedule_of_the_township_is_seen_in_the_village_and_its_neighbour_s_is_not(client: httpx.AsyncClient, collector: Collector) -> None:  # fmt: skip
    await asyncio.to_thread(add_site, collector.control, "far", area=OTHER)
    for target in ({"area": TOWNSHIP}, AREA, {"area": OTHER}, {"agent": "gate-1"}, {"agent": "far"}):
        document(await change(client, programme(), target=target), "schedule")
    await asyncio.to_thread(add_person, collector.control, "li", Grant("broadcaster", VILLAGE))
    token = await asyncio.to_thread(add_token, collector.control, "li", now=T0)
    async with collector.client(token) as li:
        seen = document(await li.get("/schedules"), "schedules")["schedules"]
        assert [one["target"] for one in seen] == [{"area": TOWNSHIP}, AREA, {"agent": "gate-1"}]
        assert "broadcast" in problem(await change(li, programme(), target={"area": TOWNSHIP}), 403)
        problem(await change(li, programme(), target={"agent": "far"}), 404)
    one = document(await client.get("/schedules", params={"area": OTHER}), "schedules")["schedules"]
    assert {str(entry["target"]) for entry in one} == {str({"agent": "far"}), str({"area": OTHER})} | ({str({"area": TOWNSHIP})} if OTHER.startswith(TOWNSHIP[:9]) else set())  # fmt: skip


async def test_the_report_counts_an_area_as_the_mean_of_its_loudspeakers(client: httpx.AsyncClient, collector: Collector) -> None:  # fmt: skip
    await asyncio.to_thread(add_site, collector.control, "silent")
    await asyncio.to_thread(add_site, collector.control, "far", area=OTHER)

    def heard(seconds: float, category: str) -> Receipt:
        return Receipt.model_validate(
            {"broadcast": uuid4(), "stage": "finished", "heard": seconds, "category": category}
        )

    await collector.deliver("gate-1", event(heard(600, "law"), "speaker"), event(heard(60, "fire"), "speaker"))
    found = document(await client.get("/reports/publicity", params={"month": "2026-11"}), "publicity")
    village, other = sorted(found["areas"], key=lambda one: str(one["area"] == OTHER))
    assert (village["area"], village["loudspeakers"], village["heard"]) == (VILLAGE, 2, 1)
    assert village["categories"] == [
        {"category": "fire", "minutes": 0.5, "loudspeaker_minutes": 1.0, "plays": 1},
        {"category": "law", "minutes": 5.0, "loudspeaker_minutes": 10.0, "plays": 1},
    ]
    assert (other["area"], other["heard"], other["categories"]) == (OTHER, 0, [])
    problem(await client.get("/reports/publicity", params={"month": "2026-13"}), 422)
    # Zeros would look like a month in which nothing was heard.
    assert "not begun" in problem(await client.get("/reports/publicity", params={"month": "2026-12"}), 422)
