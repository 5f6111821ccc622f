"""From signed alerts to signed commands, on both databases."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.collector.cap.kit import NOW, Sender, example, rainstorm
from tests.collector.cap.site import SENDER, Site
from tests.collector.kit import VILLAGE
from village_collector.cap.alert import Pair, Place, Reference
from village_collector.cap.document import InvalidAlert
from village_collector.cap.service import AlertService, Conflict, NoRight
from village_collector.cap.signature import NotSigned
from village_wire.commands import Broadcast


async def test_an_alert_is_aired_once(site: Site) -> None:
    received = await site.receive(rainstorm())
    (command,) = site.heard()
    content = command.arguments
    assert isinstance(content, Broadcast)
    assert (content.rank, content.text, content.times) == ("emergency", "暴雨橙色预警。请立即转移。", 3)
    assert (content.title, content.category) == ("暴雨橙色预警", "weather")
    assert command.target.area == VILLAGE
    assert command.expires == NOW + timedelta(hours=3)
    (one,) = received.alert.broadcasts
    assert (one.state, one.areas, str(command.id)) == ("aired", (VILLAGE,), one.broadcast)
    assert (received.new, received.alert.feed, received.alert.signer) == (True, "province", "CN=warning.example.cn")
    (act,) = await site.acts()
    assert (act.actor, act.action, act.target, act.outcome, act.command) == (
        "feeder",
        "broadcast.cap",
        VILLAGE,
        "allowed",
        one.broadcast,
    )
    again = await site.receive(rainstorm())
    assert (again.new, again.alert) == (False, received.alert)
    await site.service.look()
    assert len(site.heard()) == 1


async def test_the_same_moment_in_another_offset_is_the_same_alert(site: Site) -> None:
    china = datetime.fromisoformat("2026-11-24T16:00:00+08:00")
    first = await site.receive(rainstorm(sent=china))
    known = await asyncio.to_thread(
        site.control.alert_named, Reference(rainstorm().sender, "rain-1", NOW.replace(second=0))
    )
    assert known == first.alert


async def test_another_alert_of_the_same_name_is_refused(site: Site) -> None:
    await site.receive(rainstorm())
    with pytest.raises(Conflict):
        await site.receive(rainstorm({"headline": "解除"}))
    assert len(site.heard()) == 1
    assert (await site.acts())[-1].outcome == "refused"


@pytest.mark.parametrize("content", [b"<alert/>", example("china_rainstorm"), Sender().sign(rainstorm()), b"?"])
async def test_what_no_trusted_signer_wrote_is_refused_and_recorded(site: Site, content: bytes) -> None:
    with pytest.raises(InvalidAlert) as caught:
        await site.service.receive(content, "feeder", "10.0.0.9", None)
    (act,) = await site.acts()
    assert (act.actor, act.action, act.outcome, act.reason) == ("feeder", "broadcast.cap", "refused", str(caught.value))
    assert site.heard() == []
    assert (await asyncio.to_thread(site.control.feeds)) == {}


async def test_nobody_trusts_anybody_by_default(site: Site) -> None:
    bare = AlertService(site.control, site.broadcasts, site.audio, site.audit, now=lambda: NOW)
    with pytest.raises(NotSigned, match="no signer is trusted"):
        await bare.receive(SENDER.sign(rainstorm()), "feeder", "", None)


@pytest.mark.parametrize("status", ["Exercise", "System", "Test", "Draft"])
async def test_only_actual_alerts_are_aired(site: Site, status: Any) -> None:
    received = await site.receive(rainstorm(status=status))
    assert site.heard() == []
    assert received.alert.document["not_aired"][0]["code"] == "status"
    assert [act.outcome for act in await site.acts()] == ([] if status == "System" else ["refused"])
    assert (await asyncio.to_thread(site.control.feeds))["province"].heard == NOW


async def test_the_callers_areas_bound_where_it_is_heard(site: Site) -> None:
    province = rainstorm({"places": (Place("广东", (Pair("x", "440000"), Pair("x", "110000"))),)})
    received = await site.receive(province, scope=("441900003000", "441900004000"))
    assert [command.target.area for command in site.heard()] == ["441900003000"]
    assert received.alert.broadcasts[0].areas == ("441900003000",)
    unmapped = [(one["geocode"], one["reason"]) for one in received.alert.document["unmapped"]]
    assert unmapped == [("110000000000", "outside the areas in which the caller may broadcast")]
    with pytest.raises(NoRight) as caught:
        await site.receive(rainstorm({}, identifier="x"), scope=("110000000000",))
    assert caught.value.area == VILLAGE
    assert await asyncio.to_thread(site.control.alert_named, rainstorm({}, identifier="x").reference) is None


async def test_areas_without_loudspeakers_do_not_keep_the_others_waiting(site: Site) -> None:
    places = (Place("a", (Pair("x", "330000"), Pair("x", VILLAGE))),)
    await site.receive(rainstorm({"places": places}))
    assert [command.target.area for command in site.heard()] == [VILLAGE]
    silent = await site.receive(rainstorm({"places": (Place("a", (Pair("x", "330000"),)),)}, identifier="x"))
    assert [one["code"] for one in silent.alert.document["not_aired"]] == ["no_loudspeaker"]


async def test_what_is_kept_of_a_flood_of_areas_is_bounded(site: Site) -> None:
    codes = tuple(Pair("x", f"330101{number:03d}") for number in range(1, 900))
    received = await site.receive(rainstorm({"places": (Place("a", (*codes, Pair("x", VILLAGE))),)}))
    assert [command.target.area for command in site.heard()] == [VILLAGE]
    assert len(received.alert.document["unmapped"]) == 201
    assert received.alert.document["unmapped"][-1]["reason"].endswith("more are not listed")


async def test_a_dry_run_leaves_nothing(site: Site) -> None:
    shown = await site.receive(rainstorm(), dry_run=True)
    assert shown.alert.broadcasts[0].arguments["text"] == "暴雨橙色预警。请立即转移。"
    assert (site.heard(), await site.acts(), await site.recent()) == ([], [], [])


async def test_old_alerts_are_forgotten_once_nobody_can_play_them_again(site: Site) -> None:
    await site.receive(rainstorm({"expires": NOW + timedelta(days=100)}))
    await site.receive(rainstorm({}, identifier="short"))
    await asyncio.to_thread(site.control.purge_events, NOW + timedelta(days=50))
    assert [one.reference.identifier for one in await site.recent()] == ["rain-1"]
    await asyncio.to_thread(site.control.purge_events, NOW + timedelta(days=150))
    assert await site.recent() == []


async def test_the_newest_first(site: Site) -> None:
    for number in range(3):
        site.now = NOW + timedelta(seconds=number)
        await site.receive(rainstorm({}, identifier=f"rain-{number}"))
    assert [one.reference.identifier for one in await site.recent(2)] == ["rain-2", "rain-1"]
