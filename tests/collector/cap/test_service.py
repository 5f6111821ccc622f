"""From signed alerts to signed commands, on both databases, with a broker that may be away and collectors that may die."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.collector.cap.kit import NOW, Sender, example, rainstorm
from tests.collector.kit import VILLAGE, Outbox, add_site
from tests.peers.postgres import PASSWORD, PostgresServer
from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.normalising import BadAudio
from village_collector.broadcasts.resending import Resender
from village_collector.broadcasts.service import BroadcastService
from village_collector.cap.alert import Alert, Pair, Place, Reference, Resource
from village_collector.cap.document import InvalidAlert
from village_collector.cap.service import AlertService, Conflict, NoRight, Received
from village_collector.cap.signature import NotSigned
from village_collector.ports import StoreUnavailable
from village_collector.stores.audit_records import AuditFilter
from village_collector.stores.cap_records import LEASE, StoredAlert
from village_collector.stores.control import ControlStore
from village_wire.audit import Act, read_entry
from village_wire.commands import Broadcast, Command, Withdraw

SENDER = Sender()
OTHER = Sender("other.example.cn", feed="other")


async def _convert(source: Path, target: Path) -> float:
    content = await asyncio.to_thread(source.read_bytes)
    if b"sound" not in content:
        raise BadAudio("it is no sound file")
    await asyncio.to_thread(target.write_bytes, content)
    return 3.0


class Site:
    """One collector's parts for alerts."""

    def __init__(self, control: ControlStore, folder: Path) -> None:
        self.now = NOW
        self.control = control
        self.outbox = Outbox()
        self.audit = Audit(control, now=lambda: self.now)
        self.audio = AudioFiles(folder, lambda: control.audio_in_use(self.now), _convert)
        arrival = asyncio.Event()
        self.broadcasts = BroadcastService(
            control, self.outbox.signer, self.outbox.publish, lambda: arrival, self.audio.find, now=lambda: self.now
        )
        signers = [SENDER.signer, OTHER.signer]
        self.service = AlertService(control, self.broadcasts, self.audio, self.audit, signers, now=lambda: self.now)

    async def receive(self, alert: Alert | bytes, sender: Sender = SENDER, **more: Any) -> Received:
        scope = more.pop("scope", None)
        return await self.service.receive(sender.sign(alert), "feeder", "10.0.0.9", scope, **more)

    def heard(self) -> list[Command]:
        return [command for command in self.outbox.commands() if isinstance(command.arguments, Broadcast)]

    def taken_back(self) -> list[str]:
        return [str(one.arguments.broadcast) for one in self.outbox.commands() if isinstance(one.arguments, Withdraw)]

    async def acts(self) -> list[Act]:
        found = await asyncio.to_thread(self.control.audit, AuditFilter(), 100)
        return [read_entry(text).act for _, text in reversed(found)]

    async def recent(self, limit: int = 9) -> list[StoredAlert]:
        return await asyncio.to_thread(self.control.recent_alerts, limit)


@pytest.fixture
def control(each_control: ControlStore) -> ControlStore:
    return each_control


@pytest.fixture
def site(control: ControlStore, tmp_path: Path) -> Site:
    add_site(control)
    return Site(control, tmp_path / "audio")


def update(of: Alert, info: dict[str, Any] | None = None, **more: Any) -> Alert:
    made = rainstorm(info or {}, identifier="rain-2", sent=of.sent + timedelta(seconds=10), message_type="Update")
    return replace(made, **{"references": (of.reference,), **more})


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


async def test_nobody_trusts_anybody_by_default(control: ControlStore, site: Site) -> None:
    bare = AlertService(control, site.broadcasts, site.audio, site.audit, now=lambda: NOW)
    with pytest.raises(NotSigned, match="no signer is trusted"):
        await bare.receive(SENDER.sign(rainstorm()), "feeder", "", None)


@pytest.mark.parametrize("status", ["Exercise", "System", "Test", "Draft"])
async def test_only_actual_alerts_are_aired(site: Site, status: Any) -> None:
    received = await site.receive(rainstorm(status=status))
    assert site.heard() == []
    assert received.alert.document["not_aired"][0]["code"] == "status"
    assert [act.outcome for act in await site.acts()] == ([] if status == "System" else ["refused"])
    assert (await asyncio.to_thread(site.control.feeds))["province"].heard == NOW


async def test_an_update_takes_back_what_it_replaces(site: Site) -> None:
    first = (await site.receive(rainstorm())).alert.broadcasts[0].broadcast
    second = await site.receive(update(rainstorm(), {"headline": "降级", "severity": "Moderate"}))
    assert [command.arguments.rank for command in site.heard()] == ["emergency", "alert"]  # type: ignore[union-attr]
    assert site.taken_back() == [first]
    known = await asyncio.to_thread(site.control.alert_named, rainstorm().reference)
    assert known is not None
    assert known.replaced_by == (second.alert.id,)
    assert known.broadcasts[0].superseded == second.alert.id
    actions = [act.action for act in await site.acts()]
    assert actions == ["broadcast.cap", "broadcast.cap", "broadcast.withdraw"]
    await site.service.look()
    assert site.taken_back() == [first]


async def test_a_cancel_takes_back_and_says_nothing(site: Site) -> None:
    first = (await site.receive(rainstorm())).alert.broadcasts[0].broadcast
    await site.receive(update(rainstorm(), message_type="Cancel", infos=()))
    assert len(site.heard()) == 1
    assert site.taken_back() == [first]


async def test_what_was_replaced_before_it_came_is_not_aired(site: Site) -> None:
    later = await site.receive(update(rainstorm()))
    received = await site.receive(rainstorm())
    assert len(site.heard()) == 1
    assert [(one.state, one.problem) for one in received.alert.broadcasts] == [("dropped", "taken back before it came")]
    assert received.alert.replaced_by == (later.alert.id,)


async def test_a_chain_of_updates_in_the_wrong_order(site: Site) -> None:
    first = rainstorm()
    second = update(first)
    third = update(second, identifier="rain-3")
    for alert in (third, first, second):
        await site.receive(alert)
    aired = [(await asyncio.to_thread(site.control.alert_named, one.reference)) for one in (first, second, third)]
    states = [(one.broadcasts[0].state, one.broadcasts[0].superseded is not None) for one in aired if one]
    assert states == [("aired", True), ("dropped", True), ("aired", False)]
    assert site.taken_back() == [aired[0].broadcasts[0].broadcast if aired[0] else ""]


async def test_one_feed_takes_back_nothing_of_another(site: Site) -> None:
    await site.receive(rainstorm())
    await site.receive(update(rainstorm(), message_type="Cancel", infos=()), OTHER)
    await site.receive(update(rainstorm({}, identifier="unborn"), identifier="rain-4"), OTHER)
    await site.receive(rainstorm({}, identifier="unborn"))
    assert site.taken_back() == []
    assert len(site.heard()) == 3


@pytest.mark.parametrize("status", ["Test", "Exercise"])
async def test_an_exercise_takes_nothing_back(site: Site, status: Any) -> None:
    await site.receive(rainstorm())
    await site.receive(update(rainstorm(), status=status, message_type="Cancel"))
    assert site.taken_back() == []


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


def sound(content: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    made = Resource("x", "audio/mpeg", deref_uri=base64.b64encode(content).decode(), digest=digest, size=len(content))
    return {"resources": (replace(made, **more),)}


async def test_the_sound_that_comes_with_it_is_played(site: Site) -> None:
    await site.receive(rainstorm(sound(b"some sound")))
    (command,) = site.heard()
    content = command.arguments
    assert isinstance(content, Broadcast)
    assert content.audio is not None
    assert (content.text, content.audio.sha256) == (None, hashlib.sha256(b"some sound").hexdigest())
    assert content.audio.token


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"digest": "0" * 40}, "digest is not its SHA-1"),
        ({"size": 3}, "10 bytes, not 3"),
        ({"deref_uri": "!!"}, "derefUri is not base64"),
        ({"deref_uri": base64.b64encode(b"other").decode(), "digest": "", "size": None}, "it is no sound file"),
    ],
)
async def test_a_bad_sound_leaves_the_text(site: Site, more: dict[str, Any], reason: str) -> None:
    received = await site.receive(rainstorm(sound(b"some sound", **more)))
    (command,) = site.heard()
    assert isinstance(command.arguments, Broadcast)
    assert command.arguments.text
    assert reason in received.alert.document["not_aired"][0]["reason"]


async def test_a_broker_that_is_away_gets_it_later(site: Site) -> None:
    site.outbox.broken = "not connected to the broker"
    received = await site.receive(rainstorm())
    (one,) = received.alert.broadcasts
    assert (one.state, one.problem) == ("planned", "not connected to the broker")
    site.now += timedelta(seconds=4)
    await site.service.look()
    site.outbox.broken = ""
    await site.service.look()
    assert site.heard() == []
    site.now += timedelta(seconds=4)
    await site.service.look()
    (command,) = site.heard()
    assert str(command.id) == one.broadcast
    known = await asyncio.to_thread(site.control.alert, received.alert.id)
    assert known is not None
    assert known.broadcasts[0].state == "aired"
    assert len(await site.acts()) == 1


async def test_a_broker_that_comes_back_too_late(site: Site) -> None:
    site.outbox.broken = "not connected to the broker"
    received = await site.receive(rainstorm())
    site.outbox.broken = ""
    site.now += timedelta(hours=4)
    await site.service.look()
    assert site.heard() == []
    known = await asyncio.to_thread(site.control.alert, received.alert.id)
    assert known is not None
    assert (known.broadcasts[0].state, known.broadcasts[0].problem) == ("dropped", "over before the broker took it")
    assert (await site.acts())[-1].outcome == "failed"


async def test_an_alert_that_is_taken_back_while_the_broker_is_away_is_never_heard(site: Site) -> None:
    site.outbox.broken = "not connected to the broker"
    await site.receive(rainstorm())
    await site.receive(update(rainstorm(), message_type="Cancel", infos=()))
    site.outbox.broken = ""
    site.now += LEASE + timedelta(seconds=1)
    await site.service.look()
    await site.service.look()
    assert site.heard() == []


#: Where a collector may die: (object, method) of what is about to happen.
STEPS: list[tuple[Callable[[Site], Any], str]] = [
    (lambda site: site.control, "take_alert"),
    (lambda site: site.control, "broadcast"),
    (lambda site: site.control, "add_broadcast"),
    (lambda site: site.control, "add_audit"),
    (lambda site: site.outbox, "publish"),
    (lambda site: site.control, "mark_broadcast_sent"),
    (lambda site: site.control, "settle_planned"),
    (lambda site: site.control, "withdraw_broadcast"),
    (lambda site: site.control, "mark_superseded_withdrawn"),
]


async def opened(url: str) -> ControlStore:
    store = ControlStore(url)
    await asyncio.to_thread(store.open)
    return store


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(len(STEPS)))
async def test_whatever_step_a_collector_dies_at_the_next_one_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'c.db'}"
    control = await opened(url)
    await asyncio.to_thread(add_site, control)
    before = Site(control, tmp_path / "audio")
    first = (await before.receive(rainstorm())).alert.broadcasts[0].broadcast
    find, name = STEPS[step]
    owner = find(before)
    whole = getattr(owner, name)

    def die(*words: Any, **more: Any) -> Any:
        if after:
            whole(*words, **more)
        # A thread can't end the loop: the store is "gone" for the rest of this life.
        raise StoreUnavailable("killed")

    async def die_async(*words: Any, **more: Any) -> None:
        if after:
            await whole(*words, **more)
        raise StoreUnavailable("killed")

    monkeypatch.setattr(owner, name, die_async if name == "publish" else die)
    with suppress(StoreUnavailable):
        await before.receive(update(rainstorm()))
    monkeypatch.undo()
    await asyncio.to_thread(control.close)

    control = await opened(url)
    try:
        site = Site(control, tmp_path / "audio")
        site.now = NOW + timedelta(minutes=2)
        # Its source got no answer and sends it again; that alone, or time alone, brings it to an end.
        await site.receive(update(rainstorm()))
        await site.service.look()
        await Resender(control, site.broadcasts, lambda: site.now).look()
        known = await asyncio.to_thread(control.alert_named, update(rainstorm()).reference)
        assert known is not None
        assert [one.state for one in known.broadcasts] == ["aired"]
        both = {str(command.id) for command in (*before.heard(), *site.heard())}
        assert both == {first, known.broadcasts[0].broadcast}
        assert {*before.taken_back(), *site.taken_back()} == {first}
        record = await asyncio.to_thread(control.broadcast, first)
        assert record is not None
        assert record.tally.withdrawn is not None
        allowed = {
            act.command for act in await site.acts() if act.action == "broadcast.cap" and act.outcome == "allowed"
        }
        assert both <= allowed
    finally:
        await asyncio.to_thread(control.close)


async def sites(url: str, folder: Path, number: int) -> AsyncIterator[Site]:
    for index in range(number):
        store = ControlStore(url, PASSWORD)
        await asyncio.to_thread(store.open)
        yield Site(store, folder / str(index))


async def test_several_collectors_on_one_database_air_it_once(postgres: PostgresServer, tmp_path: Path) -> None:
    url = await asyncio.to_thread(postgres.make_database)
    crew = [site async for site in sites(url, tmp_path, 3)]
    try:
        await asyncio.to_thread(add_site, crew[0].control)
        alert, later = SENDER.sign(rainstorm()), SENDER.sign(update(rainstorm()))

        async def bring(content: bytes) -> list[Received]:
            work: list[Awaitable[Received]] = [
                site.service.receive(content, "feeder", "", None) for site in crew for _ in range(3)
            ]
            return list(await asyncio.gather(*work))

        for content in (alert, later):
            brought = await bring(content)
            assert sum(one.new for one in brought) == 1
            assert len({one.alert.id for one in brought}) == 1
            await asyncio.gather(*(site.service.look() for site in crew))
        assert sum(len(site.heard()) for site in crew) == 2
        first = await asyncio.to_thread(crew[1].control.alert_named, rainstorm().reference)
        assert first is not None
        assert {one for site in crew for one in site.taken_back()} == {first.broadcasts[0].broadcast}
    finally:
        for site in crew:
            await asyncio.to_thread(site.control.close)


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
