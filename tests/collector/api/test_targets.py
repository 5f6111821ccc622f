"""Tags as targets: within the caller's areas, in the audit log, and for nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.api.conftest import Collector, document, problem
from tests.collector.kit import OTHER, T0, TOWNSHIP, VILLAGE, add_site, entry
from tests.collector.people import add_person, add_token
from village_collector.api.targets import own_areas
from village_collector.people.rights import Grant, within
from village_wire.commands import Stop, Target, Withdraw

NEXT, PROVINCE, FAR = "441900003002", "440000000000", "330110101205"


def speaker(*tags: str) -> tuple[object, ...]:
    return (entry("speaker", "loudspeaker", tags=tags), entry("lamp", "switch", tags=("school",)))


@pytest.fixture
def village(collector: Collector) -> Collector:
    """Schools in one township, one elsewhere, and one in another province; the agent of the fixture has no tags."""
    for agent, area, tags in (
        ("school-1", VILLAGE, ("school",)),
        ("school-2", NEXT, ("clinic", "school")),
        ("clinic-1", NEXT, ("clinic",)),
        ("school-3", OTHER, ("school",)),
        ("school-4", FAR, ("school",)),
    ):
        add_site(collector.control, agent, *speaker(*tags), area=area)  # type: ignore[arg-type]
    return collector


@pytest_asyncio.fixture
async def local(village: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """May broadcast in one township, and see all."""
    grants = (Grant("broadcaster", TOWNSHIP), Grant("viewer", ""))
    await asyncio.to_thread(add_person, village.control, "li", *grants)
    token = await asyncio.to_thread(add_token, village.control, "li", now=T0)
    async with village.client(token) as client:
        yield client


async def heard(client: httpx.AsyncClient, *targets: dict[str, object]) -> tuple[set[str], list[str]]:
    """The agents that are to be heard, and the targets of the commands."""
    body = {"text": "停课", "targets": list(targets)}
    found = document(await client.post("/broadcasts", json=body), "broadcast", 202)
    assert found["counts"]["expected"] == len(found["loudspeakers"])
    return {one["agent"] for one in found["loudspeakers"]}, [
        str(Target.model_validate(one["target"])) for one in found["targets"]
    ]


async def test_tags_alone_mean_the_caller_s_own_areas(
    village: Collector, client: httpx.AsyncClient, local: httpx.AsyncClient
) -> None:
    assert await heard(local, {"tags": ["school"]}) == ({"school-1", "school-2"}, [f"{TOWNSHIP}/tag:school"])
    (command,) = village.outbox.commands()
    assert command.target == Target(area=TOWNSHIP, tags=("school",))
    everywhere, places = await heard(client, {"tags": ["school"]})
    assert everywhere == {"school-1", "school-2", "school-3", "school-4"}
    assert places == ["330000000000/tag:school", f"{PROVINCE}/tag:school"]
    acts = document(await client.get("/audit", params={"action": "broadcast.issue"}), "audit")["entries"]
    assert [(act["actor"], act["area"], act["target"]) for act in acts] == [
        ("chief", PROVINCE, f"{PROVINCE}/tag:school"),
        ("chief", "330000000000", "330000000000/tag:school"),
        ("li", TOWNSHIP, f"{TOWNSHIP}/tag:school"),
    ]


async def test_nobody_reaches_devices_outside(village: Collector, local: httpx.AsyncClient) -> None:
    for target in (
        {"area": PROVINCE, "tags": ["school"]},
        {"area": OTHER, "tags": ["school"]},
        {"agent": "school-3", "tags": ["school"]},
    ):
        answer = await local.post("/broadcasts", json={"text": "x", "targets": [{"tags": ["school"]}, target]})
        assert "the right 'broadcast'" in problem(answer, 403)
    assert not village.outbox.sent


async def test_a_loudspeaker_that_several_targets_mean_is_expected_once(
    village: Collector, local: httpx.AsyncClient
) -> None:
    agents, places = await heard(
        local, {"tags": ["school"]}, {"area": NEXT, "tags": ["clinic"]}, {"agent": "school-1"}, {"agent": "gate-1"}
    )
    assert agents == {"school-1", "school-2", "clinic-1", "gate-1"}
    assert places == [f"{TOWNSHIP}/tag:school", f"{NEXT}/tag:clinic", "gate-1"], "school-1 is reached by its tag"
    assert [command.target.without for command in village.outbox.commands()] == [(), ("school",), ("school",)]
    assert len({command.id for command in village.outbox.commands()}) == 3


async def test_a_tag_that_no_loudspeaker_there_carries_is_told(village: Collector, local: httpx.AsyncClient) -> None:
    answer = await local.post("/broadcasts", json={"text": "x", "targets": [{"tags": ["shcool"]}]})
    assert problem(answer, 409) == "where li may do this there is no loudspeaker with the tag shcool"
    assert "which tags" in answer.json()["advice"]["en"]
    answer = await local.post("/broadcasts", json={"text": "x", "targets": [{"area": VILLAGE, "tags": ["a", "b"]}]})
    assert problem(answer, 409) == f"{VILLAGE} has no loudspeaker with one of the tags a, b"
    assert not village.outbox.sent


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"agent": "school-1", "device": "speaker", "tags": ["school"]}, "tags narrow an area or an agent"),
        ({"area": VILLAGE, "tag": ["school"]}, "unknown key"),
        ({"area": VILLAGE, "without": ["school"]}, "unknown key"),
        ({"tags": []}, "either an agent or an area"),
        ({"tags": ["School"]}, "write 1 to 32 of a-z"),
        ({"tags": [f"t{number}" for number in range(9)]}, "at most 8"),
        ({"device": "speaker", "tags": ["school"]}, "either an agent or an area"),
    ],
)
async def test_what_is_no_target_is_refused(local: httpx.AsyncClient, target: dict[str, object], said: str) -> None:
    assert said in problem(await local.post("/broadcasts", json={"text": "x", "targets": [target]}), 422)


async def test_more_tags_than_a_command_holds_are_refused(village: Collector, client: httpx.AsyncClient) -> None:
    targets = [{"area": VILLAGE, "tags": [f"t{number}"]} for number in range(9)]
    assert "more than 8 different tags" in problem(
        await client.post("/broadcasts", json={"text": "x", "targets": targets}), 422
    )


async def test_a_broadcast_to_tags_is_withdrawn_where_it_went(village: Collector, local: httpx.AsyncClient) -> None:
    body = {"text": "停课", "targets": [{"tags": ["school"]}]}
    found = document(await local.post("/broadcasts", json=body), "broadcast", 202)
    document(await local.post(f"/broadcasts/{found['id']}/withdraw"), "broadcast")
    issued, withdrawal = village.outbox.commands()
    assert withdrawal.arguments == Withdraw(broadcast=issued.id)
    assert withdrawal.target == issued.target


async def test_a_command_with_tags_expects_who_carries_one(
    village: Collector, client: httpx.AsyncClient, local: httpx.AsyncClient
) -> None:
    stop = {"arguments": {"kind": "stop"}}
    answer = await local.post("/commands", json={"target": {"tags": ["clinic"]}, **stop})
    found = document(answer, "command", 202)
    assert [one["agent"] for one in found["expected"]] == ["clinic-1", "school-2"]
    assert found["target"] == {"area": TOWNSHIP, "tags": ["clinic"]}
    (command,) = village.outbox.commands()
    assert (command.target, command.arguments) == (Target(area=TOWNSHIP, tags=("clinic",)), Stop())
    several = problem(await client.post("/commands", json={"target": {"tags": ["school"]}, **stop}), 422)
    assert several.endswith(f"330000000000/tag:school, {PROVINCE}/tag:school")
    nobody = {"target": {"area": VILLAGE, "tags": ["clinic"]}, **stop}
    assert (
        problem(await local.post("/commands", json=nobody), 409)
        == f"area {VILLAGE} has no loudspeaker with the tag clinic"
    )
    switch = {"target": {"tags": ["school"]}, "arguments": {"kind": "switch", "on": True}}
    assert "no switch with the tag school" in problem(await local.post("/commands", json=switch), 409)


async def test_programmes_of_a_tag_need_a_place(village: Collector, local: httpx.AsyncClient) -> None:
    programme = {
        "id": "bell",
        "title": "上课铃",
        "items": [{"text": "上课"}],
        "when": {"start": "2026-12-01T08:00:00", "zone": "Asia/Shanghai", "rule": "FREQ=DAILY"},
    }
    body = {"target": {"tags": ["school"]}, "programmes": [programme]}
    assert "programmes need a place" in problem(await local.post("/schedules", json=body), 422)
    for target in ({"area": TOWNSHIP, "tags": ["school"]}, {"area": TOWNSHIP}):
        made = document(await local.post("/schedules", json={**body, "target": target}), "schedule")
        assert made["target"] == target
    (narrowed, whole) = (await local.get("/schedules")).json()["schedules"][::-1]
    assert (narrowed["target"], whole["target"]) == ({"area": TOWNSHIP, "tags": ["school"]}, {"area": TOWNSHIP})
    gone = {"target": {"area": TOWNSHIP, "tags": ["school"]}, "programmes": ["bell"]}
    document(await local.post("/schedules/remove", json=gone), "schedule")
    assert [one["target"] for one in (await local.get("/schedules")).json()["schedules"]] == [{"area": TOWNSHIP}]


async def test_devices_are_listed_by_tag(village: Collector, client: httpx.AsyncClient) -> None:
    found = document(await client.get("/devices", params={"tag": "clinic"}), "devices")
    assert [(one["agent"], one["device"], one["tags"]) for one in found["devices"]] == [
        ("clinic-1", "speaker", ["clinic"]),
        ("school-2", "speaker", ["clinic", "school"]),
    ]
    one = document(await client.get("/devices/school-2/speaker"), "device")
    assert one["device"]["tags"] == ["clinic", "school"]
    assert problem(await client.get("/devices", params={"tag": "A b"}), 422)


codes = st.sampled_from([VILLAGE, NEXT, TOWNSHIP, OTHER, PROVINCE, FAR, "441900003001-g02", "110000000000"])


@given(st.none() | st.lists(codes, unique=True), st.lists(codes, unique=True))
def test_own_areas_cover_what_is_there_and_nothing_outside(scope: list[str] | None, there: list[str]) -> None:
    found = own_areas(scope, there)
    for area in there:
        mine = scope is None or any(within(own, area) for own in scope)
        assert any(within(place, area) for place in found) == mine
    assert all(scope is None or place in scope for place in found)
    assert all(any(within(place, area) for area in there) for place in found)
