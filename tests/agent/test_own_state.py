"""The agent's own condition is the worst of its parts', and told when it changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.agent.kit import Site, running, site, until
from village_agent import own_state as module
from village_agent.own_state import OwnState, watch_clock
from village_wire.events import StateChanged


async def told(parts: Site, count: int) -> list[tuple[str | None, str, str]]:
    events = await parts.until("state_changed", lambda found: len(found) >= count)
    return [(e.device, e.data.status, e.data.code) for e in events if isinstance(e.data, StateChanged)]


async def test_a_part_that_works_again_hides_no_other_fault(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        own = OwnState(parts.hub)
        own.set("clock", "ok", "works", "")
        own.set("disk", "degraded", "disk_full", "no space")
        own.set("clock", "degraded", "clock_unsure", "not told")
        own.set("disk", "ok", "works", "")
        own.set("clock", "ok", "works", "")
        own.set("clock", "ok", "works", "")
        assert await told(parts, 3) == [
            (None, "degraded", "disk_full"),
            (None, "degraded", "clock_unsure"),
            (None, "ok", "works"),
        ]


async def test_a_time_that_is_never_told_is_said_once_connected_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "UNSURE_SECONDS", 0.1)
    async with site(tmp_path) as parts:
        known = asyncio.Event()
        connected = [False]
        async with running(watch_clock(OwnState(parts.hub), known, lambda: connected[0])) as task:
            await asyncio.sleep(0.2)
            assert await parts.events() == []
            connected[0] = True
            assert await told(parts, 1) == [(None, "degraded", "clock_unsure")]
            known.set()
            await until(task.done)
        assert await told(parts, 2) == [(None, "degraded", "clock_unsure"), (None, "ok", "works")]
