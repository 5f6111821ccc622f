"""Row `agent`: memory and CPU of the real agent with six devices at default settings, beside an idle Telegraf."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.bench.rig import MB, UNLIMITED, Usage, collector
from tests.bench.rows import Say
from tests.bench.six_devices import all_ok, six_devices
from tests.peers import peer
from tests.peers.mosquitto import Mosquitto

_SAMPLE_SECONDS = 0.1
#: The first report of the agent on itself comes after 5 s and gives back the memory that the start took.
SETTLING_SECONDS = 10.0


def run(quick: bool, say: Say) -> dict[str, Any]:
    """Return `agent`, `children` (short-lived ffmpeg of the cameras' probes) and `telegraf`; MB are a million bytes."""
    return measure(20 if quick else 180, say)


def measure(seconds: float, say: Say) -> dict[str, Any]:
    """Watch for so long."""
    return asyncio.run(_measure(seconds, say))


async def _measure(seconds: float, say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        folder = Path(name)
        async with (
            Mosquitto(folder, UNLIMITED) as broker,
            collector(folder / "collector", broker.url) as running,
            _telegraf(folder, broker.port) as telegraf,
            six_devices(folder / "site", broker.url, running.command_key) as agent,
        ):
            await all_ok(running)
            say(f"six devices are ok; watching for {seconds} s")
            await asyncio.sleep(SETTLING_SECONDS)
            return await _watch(agent.pid, telegraf.pid, seconds)


async def _watch(agent: int, telegraf: int, seconds: float) -> dict[str, Any]:
    own, other = Usage(agent), Usage(telegraf)
    process = psutil.Process(agent)
    own.reset_peak()
    children: dict[str, int] = {}
    children_mb = 0.0
    waited = _children_seconds(process)
    memory: list[float] = []
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        memory.append(own.rss_mb())
        living = _living(process)
        for _, name, _ in living:
            children[name] = max(children.get(name, 0), sum(1 for _, other_name, _ in living if other_name == name))
        children_mb = max(children_mb, sum(rss for _, _, rss in living))
        await asyncio.sleep(_SAMPLE_SECONDS)
    elapsed = time.monotonic() - begun
    return {
        "seconds": round(elapsed),
        "agent": {
            "rss_mb": round(sum(memory) / len(memory), 1),
            "peak_rss_mb": round(own.peak_rss_mb(), 1),
            "pss_mb": round(own.pss_mb(), 1),
            "cpu_percent": round(100 * own.lap() / elapsed, 2),
            "threads": process.num_threads(),
        },
        "children": {
            "at_once": children,
            "peak_rss_mb": round(children_mb, 1),
            "cpu_percent": round(100 * (_children_seconds(process) - waited) / elapsed, 2),
        },
        "telegraf": {
            "rss_mb": round(other.rss_mb(), 1),
            "pss_mb": round(other.pss_mb(), 1),
            "cpu_percent": round(100 * other.lap() / elapsed, 2),
        },
    }


def _children_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def _living(process: psutil.Process) -> Sequence[tuple[int, str, float]]:
    found = []
    for child in process.children(recursive=True):
        try:
            found.append((child.pid, child.name(), child.memory_info().rss / MB))
        except psutil.NoSuchProcess:
            continue
    return found


@asynccontextmanager
async def _telegraf(folder: Path, port: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run Telegraf with a connection to the broker, one subscription, and nothing to do."""
    program = peer("telegraf")
    config = folder / "telegraf.conf"
    config.write_text(
        '[agent]\ninterval = "60s"\nflush_interval = "60s"\nomit_hostname = true\n'
        f'[[outputs.file]]\nfiles = ["{folder / "telegraf.out"}"]\ndata_format = "influx"\n'
        f'[[inputs.mqtt_consumer]]\nservers = ["tcp://127.0.0.1:{port}"]\ntopics = ["bench/idle"]\ndata_format = "influx"\n'
    )
    with (folder / "telegraf.log").open("wb") as log:
        process = subprocess.Popen([program, "--config", config, "--quiet"], stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
