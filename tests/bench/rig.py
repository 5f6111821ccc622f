"""What the agents' rows share: the real collector as a program, a broker's settings, and what a process takes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.rows import NotMeasured
from tests.collector.people import api_client, token_for

#: mosquitto drops messages to a slow subscriber with its defaults (1,000 waiting, 20 in flight); a figure must not gain by that.
UNLIMITED = "max_queued_messages 0\nmax_inflight_messages 0\npersistence false\nlog_type error\nset_tcp_nodelay true\n"
#: Broker, collector and files of this process beside the agents.
_SPARE_FILES = 200
#: Which of a process's clocks it is (linux/posix-timers.h).
_CPUCLOCK_SCHED = 2
MB = 1_000_000


class Usage:
    """CPU and memory of one process, without its children."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._pid = pid
        self._cpu = self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """User and system time since the process began, in nanoseconds, not ticks (clock_getcpuclockid(3)).

        Raises:
            OSError: the process has ended.
        """
        return time.clock_gettime((~self._pid << 3) | _CPUCLOCK_SCHED)

    def lap(self) -> float:
        """CPU seconds since the last call."""
        before, self._cpu = self._cpu, self.cpu_seconds()
        return self._cpu - before

    def rss_mb(self) -> float:
        """Resident memory now, in MB of a million bytes."""
        return float(self._process.memory_info().rss) / MB

    def pss_mb(self) -> float:
        """Proportional set size now: memory shared with other processes counts in part."""
        return float(self._process.memory_full_info().pss) / MB

    def reset_peak(self) -> None:
        """Let `peak_rss_mb` begin anew (proc(5), clear_refs)."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")

    def peak_rss_mb(self) -> float:
        """Largest resident memory since the start or the last `reset_peak` (proc(5), VmHWM)."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MB
        return 0.0


@dataclass(frozen=True, slots=True)
class RunningCollector:
    """A collector that answers, and an administrator's token."""

    process: asyncio.subprocess.Process
    folder: Path
    api: str
    token: str

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client of its API."""
        return api_client(self.folder / "data", self.api, token=self.token, **options)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def command_key(self) -> str:
        """The public key of its commands, as it stands in an agent's configuration."""
        return (self.folder / "data" / "command_key.pub").read_text().strip()

    @property
    def telemetry_file(self) -> Path:
        """Its store of samples."""
        return self.folder / "data" / "telemetry.db"

    @property
    def control_file(self) -> Path:
        """Its store of everything else."""
        return self.folder / "data" / "control.db"


@asynccontextmanager
async def collector(folder: Path, broker: str) -> AsyncIterator[RunningCollector]:
    """Run the real program, with its embedded stores, at a broker; stop it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    config, addresses = folder / "collector.toml", folder / "data" / "addresses.json"
    config.write_text(
        f"[collector]\ndata_dir = {json.dumps(str(folder / 'data'))}\n[broker]\nurl = {json.dumps(broker)}\n[api]\nport = 0\ntls = false\n"
    )
    with (folder / "collector.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "village_collector.cli", "run", "--config", config, stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(30):
            while not addresses.exists() or b"takes messages" not in (folder / "collector.log").read_bytes():
                if process.returncode is not None:
                    raise NotMeasured(f"the collector ended: {(folder / 'collector.log').read_text()[-500:]}")
                await asyncio.sleep(0.05)
        token = await asyncio.to_thread(token_for, folder / "data")
        yield RunningCollector(process, folder, json.loads(addresses.read_text())["api"], token)
    finally:
        await stop(process)


async def known(running: RunningCollector, devices: int) -> None:
    """Wait until the collector has so many devices in its inventories; raises `TimeoutError`."""
    async with asyncio.timeout(300):
        while await asyncio.to_thread(rows, running.control_file, "SELECT count(*) FROM devices") < devices:
            await asyncio.sleep(0.1)


def rows(file: Path, question: str) -> int:
    """Return the number that a query gives; raises `NotMeasured`."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return int(database.execute(question).fetchone()[0])
    except sqlite3.OperationalError as error:
        raise NotMeasured(f"{file.name}: {error}") from None


async def stop(process: asyncio.subprocess.Process, seconds: float = 20) -> None:
    """End a program with SIGTERM and, if it does not obey, with SIGKILL."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def room_for(connections: int) -> None:
    """Let this process and its children have so many connections each; raises `NotMeasured` where the system forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        raise NotMeasured(
            f"{connections} connections need {wanted} open files, the system allows {hard}: raise `ulimit -Hn`"
        ) from None


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
