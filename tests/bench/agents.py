"""Row `agents`: thousands of agents at one collector, idle, and when all come back after a common power cut with an hour of work each."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench.content import DEVICES, Batch, Site, sites
from tests.bench.fleet import Fleet
from tests.bench.rig import UNLIMITED, RunningCollector, Usage, collector, known, room_for, rows
from tests.bench.rows import Say
from tests.peers.mosquitto import Mosquitto

_MINUTE_NS = 60_000_000_000
#: What does not drain in this time is called lost.
_DRAIN_SECONDS = 1200
#: Work that each agent has gathered when the power comes back.
_BACKLOG_MINUTES = 60


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return a result per number of agents; its keys are `connect`, `idle`, `power_cut`, `stored`."""
    counts, seconds = ((100, 500), 8) if quick else ((1_000, 10_000), 60)
    return {str(count): measure(count, seconds, _BACKLOG_MINUTES, say) for count in counts}


def measure(count: int, idle_seconds: float, backlog_minutes: int, say: Say) -> dict[str, Any]:
    """Measure so many agents: idle for so long, and when they come back with the work of so many minutes."""
    return asyncio.run(_measure(count, idle_seconds, backlog_minutes, say))


async def _measure(count: int, idle_seconds: float, backlog_minutes: int, say: Say) -> dict[str, Any]:
    room_for(count)
    with tempfile.TemporaryDirectory(prefix="village-bench-") as folder:
        async with (
            Mosquitto(Path(folder), UNLIMITED) as broker,
            collector(Path(folder) / "collector", broker.url) as running,
        ):
            assert broker._process is not None
            usages = {
                "collector": Usage(running.pid),
                "broker": Usage(broker._process.pid),
                "agents": Usage(os.getpid()),
            }
            fleet = Fleet(broker.port, sites(count))
            task = asyncio.create_task(fleet.run(), name="fleet")
            try:
                return await _phases(fleet, running, usages, idle_seconds, backlog_minutes, say)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _phases(
    fleet: Fleet,
    running: RunningCollector,
    usages: dict[str, Usage],
    idle_seconds: float,
    backlog_minutes: int,
    say: Say,
) -> dict[str, Any]:
    count = len(fleet.agents)
    begun = time.monotonic()
    fleet.power_on()
    await fleet.wait_ready(300)
    connected = round(time.monotonic() - begun, 2)
    await known(running, count * len(DEVICES))
    result: dict[str, Any] = {
        "connect": {"seconds": connected, "until_known_s": round(time.monotonic() - begun, 2), **_memory(usages)}
    }
    say(f"{count} agents are known after {result['connect']['until_known_s']} s")
    sent = await _idle(fleet, usages, idle_seconds, result)
    say(f"idle: {result['idle']}")
    sent += await _power_cut(fleet, usages, backlog_minutes, result, say)
    say(f"power cut: {result['power_cut']}")
    result["stored"] = await asyncio.to_thread(_compare, running, sent)
    say(f"stored: {result['stored']}")
    return result


async def _idle(
    fleet: Fleet, usages: dict[str, Usage], seconds: float, result: dict[str, Any]
) -> list[tuple[bool, int]]:
    """Each agent sends a minute's readings each minute, spread evenly."""
    for usage in usages.values():
        usage.lap()
    usages["collector"].reset_peak()
    sent, done, begun = [], 0, time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        while done < passed / 60 * len(fleet.agents):
            agent = fleet.agents[done % len(fleet.agents)]
            for batch in agent.site.telemetry(time.time_ns(), 1):
                agent.add(batch)
                sent.append((batch.event, batch.entries))
            done += 1
        await asyncio.sleep(0.05)
    elapsed = time.monotonic() - begun
    result["idle"] = {
        "seconds": round(elapsed, 1),
        "messages_per_s": round(done / elapsed, 1),
        "values_per_s": round(sum(entries for _, entries in sent) / elapsed),
        "collector_cpu_percent": round(100 * usages["collector"].lap() / elapsed, 2),
        "collector_rss_mb": round(usages["collector"].rss_mb(), 1),
        "collector_peak_mb": round(usages["collector"].peak_rss_mb(), 1),
        "broker_cpu_percent": round(100 * usages["broker"].lap() / elapsed, 2),
        "broker_rss_mb": round(usages["broker"].rss_mb(), 1),
    }
    await fleet.wait_drained(60)
    return sent


async def _power_cut(
    fleet: Fleet, usages: dict[str, Usage], minutes: int, result: dict[str, Any], say: Say
) -> list[tuple[bool, int]]:
    fleet.power_cut()
    say(f"cut; each agent gathers {minutes} minutes of work")
    batches = await asyncio.to_thread(_gather, [agent.site for agent in fleet.agents], minutes)
    for agent, own in zip(fleet.agents, batches, strict=True):
        for batch in own:
            agent.add(batch)
    acknowledged, sent = fleet.acknowledged, fleet.sent
    for usage in usages.values():
        usage.lap()
    usages["collector"].reset_peak()
    fleet.backlog_age = minutes * 60
    begun = time.monotonic()
    fleet.power_on()
    await fleet.wait_ready(600)
    back = time.monotonic() - begun
    try:
        await fleet.wait_drained(_DRAIN_SECONDS)
    except TimeoutError:
        say(f"{fleet.unacknowledged} batches are not acknowledged after {_DRAIN_SECONDS} s")
    seconds = time.monotonic() - begun
    cpu = {name: round(usage.lap(), 2) for name, usage in usages.items()}
    values = sum(batch.entries for own in batches for batch in own if not batch.event)
    result["power_cut"] = {
        "values": values,
        "events": sum(batch.entries for own in batches for batch in own if batch.event),
        "batches": sum(len(own) for own in batches),
        "all_connected_s": round(back, 2),
        "drained_s": round(seconds, 2),
        "values_per_s": round(values / seconds),
        "not_drained": fleet.unacknowledged,
        "sent_again": fleet.sent - sent - (fleet.acknowledged - acknowledged),
        "refused": fleet.refused,
        "failed_connects": fleet.failed_connects,
        "collector_cpu_s": cpu["collector"],
        "collector_peak_mb": round(usages["collector"].peak_rss_mb(), 1),
        "broker_cpu_s": cpu["broker"],
        "agents_cpu_s": cpu["agents"],
        "broker_rss_mb": round(usages["broker"].rss_mb(), 1),
    }
    return [(batch.event, batch.entries) for own in batches for batch in own]


def _gather(all_sites: Sequence[Site], minutes: int) -> list[list[Batch]]:
    now = time.time_ns()
    found = []
    for site in all_sites:
        site.session = uuid.uuid4().hex
        backlog = site.telemetry(now - (minutes + 5) * _MINUTE_NS, minutes)
        found.append([site.events(now / 1e9, minutes / 60), *backlog])
    return found


def _memory(usages: dict[str, Usage]) -> dict[str, float]:
    return {f"{name}_rss_mb": round(usages[name].rss_mb(), 1) for name in ("collector", "broker")}


def _compare(running: RunningCollector, sent: Sequence[tuple[bool, int]]) -> dict[str, int]:
    """Compare what was acknowledged with what is in the stores."""
    values = sum(entries for event, entries in sent if not event)
    events = sum(entries for event, entries in sent if event)
    stored_values = rows(running.telemetry_file, "SELECT count(*) FROM samples")
    stored_events = rows(running.control_file, "SELECT count(*) FROM events")
    return {
        "values": stored_values,
        "values_missing": values - stored_values,
        "events": stored_events,
        "events_missing": events - stored_events,
        "missing": abs(values - stored_values) + abs(events - stored_events),
    }
