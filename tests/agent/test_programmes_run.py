"""A programme from the API to the speech chip and back into the report, while the collector is away when it is due."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.agent.kit import until
from tests.agent.test_enrolled import AGENT, COLLECTOR, Village, enrolled, started, village
from tests.collector.kit import VILLAGE
from village_emulators.line import Cable
from village_wire.recurrence import zone_of

#: Long enough for the collector to be killed before it is due.
LATER = timedelta(seconds=6)


def once(identity: str, due: datetime, text: str) -> dict[str, Any]:
    local = due.astimezone(zone_of("Asia/Shanghai")).replace(tzinfo=None)
    return {
        "id": identity,
        "title": "防诈宣传",
        "category": "anti_fraud",
        "when": {"start": local.isoformat(timespec="seconds")},
        "items": [{"text": text}],
    }


def sounding(state: Path) -> bool:
    """Whether the agent's disk knows of a broadcast that has not ended."""
    with closing(sqlite3.connect(state / "loudspeaker.db")) as database:
        return bool(database.execute("SELECT count(*) FROM entry").fetchone()[0])


async def report(it: Village, month: str) -> list[dict[str, Any]]:
    found = await it.request("GET", "/reports/publicity", params={"month": month})
    areas: list[dict[str, Any]] = found["areas"]
    return areas


@pytest.mark.timeout(120)
async def test_a_programme_is_heard_without_a_link_and_stands_in_the_report(tmp_path: Path) -> None:
    async with (
        Cable() as cable,
        village(tmp_path) as it,
        started(sys.executable, "-m", "village_emulators.syn6288", cable.b),
    ):
        text = f'\n[[devices]]\nid = "horn"\ndriver = "syn6288"\nport = "{cable.a}"\n'
        await asyncio.to_thread(it.config.write_text, await asyncio.to_thread(it.config.read_text) + text)
        assert (await enrolled(it)).returncode == 0
        async with started(*AGENT, "run", "--config", str(it.config)) as agent:
            await it.online()
            due = datetime.now(UTC) + LATER
            body = {"target": {"area": VILLAGE}, "programmes": [once("morning", due, "谨防诈骗，人人有责。")]}
            await it.request("POST", "/schedules", json=body)
            await until(lambda: f"of {VILLAGE}: 1 programmes" in agent.text, 10)
            it.collector.process.kill()
            await it.collector.process.wait()
            assert "on horn: started" not in agent.text, (
                "this machine is too slow: it was due before the collector was killed"
            )
            await asyncio.to_thread((it.site.data / "addresses.json").unlink)
            await until(lambda: "finished" in agent.text, 40)
            assert agent.text.count("on horn: started") == 1
            # Told a moment before it is on disk; a kill between the two would rightly make it failed.
            await until(lambda: not sounding(it.state), 10)
            agent.process.kill()
        command = [*COLLECTOR, "run", "--config", str(tmp_path / "collector.toml"), "--data-dir", str(it.site.data)]
        async with AsyncExitStack() as stack:
            it.collector = await stack.enter_async_context(started(*command))
            # An agent that comes first waits ten seconds for an ack before it sends again.
            await it.url()
            agent = await stack.enter_async_context(started(*AGENT, "run", "--config", str(it.config)))
            month = f"{due.astimezone(zone_of('Asia/Shanghai')):%Y-%m}"
            async with asyncio.timeout(40):
                while not any(area["heard"] for area in await report(it, month)):
                    await asyncio.sleep(0.3)
            (area,) = await report(it, month)
            assert (area["area"], area["loudspeakers"], area["heard"]) == (VILLAGE, 1, 1)
            (total,) = area["categories"]
            assert (total["category"], total["plays"]) == ("anti_fraud", 1)
            assert 0.02 < total["minutes"] < 0.3
            assert "on horn: started" not in agent.text, "a restart plays it again"
