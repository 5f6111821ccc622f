"""Collectors that die at any step of an alert, brokers that are away, and several collectors on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.collector.cap.kit import NOW, rainstorm
from tests.collector.cap.site import SENDER, Site, update
from tests.collector.kit import add_site
from tests.peers.postgres import PASSWORD, PostgresServer
from village_collector.broadcasts.resending import Resender
from village_collector.cap.service import Received
from village_collector.ports import StoreUnavailable
from village_collector.stores.cap_records import LEASE
from village_collector.stores.control import ControlStore


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
