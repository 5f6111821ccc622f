"""Alerts that take earlier ones back, in any order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.collector.cap.kit import rainstorm
from tests.collector.cap.site import OTHER, Site, update


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
