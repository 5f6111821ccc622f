"""Old events and commands are forgotten each day, a slice at a time, and a store that is away is tried again."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.agent.kit import running, until
from tests.collector.kit import add_site, at, batch, event
from village_collector import retention
from village_collector.retention import keep_events
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter
from village_wire.events import ButtonPressed

DAY = 86_400.0


def left(control: ControlStore) -> list[str]:
    actions = [one.data["action"] for one in control.events(EventFilter(), 10_000).events]
    return actions + [one.id for one in control.recent_commands(100)]


def fill(control: ControlStore) -> None:
    add_site(control)
    old = [event(ButtonPressed(action="old")) for _ in range(4500)]
    control.store_events([batch("gate-1", *old), batch("gate-1", event(ButtonPressed(action="new")), received=at(60))])
    for number in range(50):
        assert control.add_command(f"c{number}", at(0), at(30), "me", {}, {}, ("door",), agent="gate-1") > 0
    assert control.add_command("kept", at(60), at(90), "me", {}, {}, ("door",), agent="gate-1") > 0


async def test_what_is_older_is_forgotten(control: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_REST_SECONDS", 0.0)
    await asyncio.to_thread(fill, control)
    async with running(keep_events(control, 2, 0.0, lambda: at(2 * DAY + 40))), asyncio.timeout(10):
        while await asyncio.to_thread(left, control) != ["new", "kept"]:
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(control.command, "c1") is None


async def test_a_store_that_is_away_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "_RETRY_SECONDS", 0.05)
    control = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    await asyncio.to_thread(control.open)
    await asyncio.to_thread(control.store_events, [batch("a", event(ButtonPressed(action="old")))])
    await asyncio.to_thread(control.close)
    with caplog.at_level(logging.INFO):
        async with running(keep_events(control, 1, 0.0, lambda: at(2 * DAY))):
            await until(lambda: "trying again in an hour" in caplog.text)
            await asyncio.to_thread(control.open)
            await until(lambda: "forgot 1 events that were older than 1 days" in caplog.text)
    await asyncio.to_thread(control.close)
