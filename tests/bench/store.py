"""Row `store`: the embedded store by itself, and what a maintainer waits for when 1,000 agents with ten devices each are known."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.rig import collector
from tests.bench.rows import NotMeasured, Say
from tests.collector.kit import T0, batch, entry, inventory, state, status
from tests.peers.mosquitto import Mosquitto
from village_collector.ingest import BLOCK_BYTES
from village_collector.stores.control import ControlStore
from village_collector.stores.sqlite import SqliteStore
from village_wire.points import encode_point

AGENTS, DEVICES = 1_000, 10
#: Readings of every device, a minute apart; two samples each.
_ROUNDS, _QUICK_ROUNDS = 50, 3
#: A device that reports every ten seconds, for a day.
_DAY_SAMPLES = 8_640
#: What each agent says of itself, each minute of an hour: five fields.
_MINUTES = 60
_EXTRA_SAMPLES = _DAY_SAMPLES + _MINUTES * AGENTS * 5
_TRIES = 9


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Measure the row; see the module."""
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        return asyncio.run(_measure(Path(name), _QUICK_ROUNDS if quick else _ROUNDS, say))


async def _measure(folder: Path, rounds: int, say: Say) -> dict[str, Any]:
    data = folder / "data"
    data.mkdir()
    store = SqliteStore(data / "telemetry.db")
    await store.open()
    try:
        say("writing")
        result: dict[str, Any] = {"write": await _write(store, rounds)}
        say("reading")
        result["read"] = await _read(store)
    finally:
        await store.close()
    size = await asyncio.to_thread(lambda: (data / "telemetry.db").stat().st_size)
    result["write"]["bytes_per_sample"] = round(size / (result["write"]["samples"] + _EXTRA_SAMPLES), 1)
    say("asking the program for health")
    await asyncio.to_thread(_fill, data / "control.db")
    result["health"] = await _health(folder)
    return result


async def _write(store: SqliteStore, rounds: int) -> dict[str, Any]:
    end = time.time_ns()
    blocks = list(_blocks(_readings(rounds, end)))
    lines = sum(block.count(b"\n") + 1 for block in blocks)
    started, cpu = time.monotonic(), time.process_time()
    for block in blocks:
        refused = await store.write(block)
        if refused:
            raise NotMeasured(f"the store refuses {refused[0].line!r}: {refused[0].reason}")
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    for block in _blocks(_extras(end)):
        await store.write(block)
    return {
        "samples_per_s": round(2 * lines / seconds),
        "lines_per_s": round(lines / seconds),
        "cpu_s_per_million_samples": round(cpu / lines / 2 * 1e6, 2),
        "samples": 2 * lines,
        "series": 2 * AGENTS * DEVICES,
    }


async def _read(store: SqliteStore) -> dict[str, Any]:
    end = datetime.now(UTC)
    start = end - timedelta(days=1, minutes=1)

    async def day(limit: int) -> None:
        samples = await store.history("agent-day", "box", "host", "cpu_percent", start, end, limit)
        if len(samples) < min(limit // 2, _DAY_SAMPLES):
            raise NotMeasured(f"{len(samples)} samples of a day")

    async def all_agents() -> None:
        if len(await store.latest("agent", "agent")) != AGENTS:
            raise NotMeasured("the latest of some agents is absent")

    return {
        "day_of_8640_samples_ms": await _median_ms(lambda: day(10_000)),
        "day_thinned_to_500_ms": await _median_ms(lambda: day(500)),
        "latest_of_a_device_ms": await _median_ms(lambda: store.fields("agent-0500", "device-5")),
        "latest_of_all_agents_ms": await _median_ms(all_agents),
    }


async def _health(folder: Path) -> dict[str, Any]:
    seconds: list[float] = []
    async with (
        Mosquitto(folder) as broker,
        collector(folder, broker.url) as program,
        program.client(timeout=60) as client,
    ):
        for _ in range(_TRIES):
            started = time.monotonic()
            answer = await client.get("/health")
            seconds.append(time.monotonic() - started)
        rows = answer.json()["devices"]
    if len(rows) != AGENTS * (DEVICES + 1):
        raise NotMeasured(f"health has {len(rows)} rows")
    return {
        "seconds": round(statistics.median(seconds), 3),
        "first_seconds": round(seconds[0], 3),
        "rows": len(rows),
        "answer_mb": round(len(answer.content) / 1e6, 2),
    }


async def _median_ms(work: Callable[[], Awaitable[Any]]) -> float:
    taken = []
    for _ in range(_TRIES):
        started = time.monotonic()
        await work()
        taken.append(time.monotonic() - started)
    return round(statistics.median(taken) * 1000, 2)


def _readings(rounds: int, end: int) -> Iterator[bytes]:
    for minute in range(rounds):
        at = end - (rounds - minute) * 60 * 10**9
        for agent in range(AGENTS):
            for device in range(DEVICES):
                fields = {"temperature_c": 15 + (agent + minute) % 17 + 0.5, "humidity_percent": 40.0 + minute % 31}
                yield encode_point("sensor", f"agent-{agent:04d}", f"device-{device}", fields, at + device)


def _extras(end: int) -> Iterator[bytes]:
    # What is read, beside the readings that were written against the clock: a day of one device, an hour of every agent's own.
    for number in range(_DAY_SAMPLES):
        yield encode_point("host", "agent-day", "box", {"cpu_percent": number % 100 + 0.5}, end - number * 10 * 10**9)
    for minute in range(_MINUTES):
        for agent in range(AGENTS):
            fields = {
                "memory_bytes": 40_000_000,
                "outbox_bytes": 4096,
                "outbox_waiting": 3,
                "outbox_hours": 900.5,
                "lost": 0,
            }
            yield encode_point("agent", f"agent-{agent:04d}", "agent", fields, end - minute * 60 * 10**9)


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    # As large as those of ingest.
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line) + 1
        if size >= BLOCK_BYTES:
            yield b"\n".join(block)
            block, size = [], 0
    if block:
        yield b"\n".join(block)


def _fill(file: Path) -> None:
    control = ControlStore(f"sqlite:///{file}")
    control.open()
    devices = [entry(f"device-{number}", "loudspeaker", kind="loudspeaker") for number in range(DEVICES)]
    try:
        events = []
        for number in range(AGENTS):
            agent = f"agent-{number:04d}"
            control.store_status(agent, status(online=True), T0)
            control.store_inventory(inventory(agent, *devices), T0)
            unwell = {3: ("down", "no_answer")} if number % 20 == 0 else {}
            for index, device in enumerate(devices):
                value, code = unwell.get(index, ("ok", "works"))
                events.append(batch(agent, state(device.id, value, code)))  # type: ignore[arg-type]
        control.touch({f"agent-{number:04d}": datetime.now(UTC) for number in range(AGENTS)})
        for first in range(0, len(events), 1000):
            control.store_events(events[first : first + 1000])
    finally:
        control.close()
