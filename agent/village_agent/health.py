"""The agent's own readings, and the signs of life for systemd."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path

from village_agent.config import AGENT_DEVICE
from village_agent.disk import DiskThread
from village_agent.outbox import Outbox
from village_agent.supervisor import Supervisor
from village_wire.points import encode_point
from village_wire.systemd import Notifier

#: How often the agent reports on itself.
INTERVAL_SECONDS = 60.0
#: The first report comes when connecting and first polls are over.
FIRST_SECONDS = 5.0
#: The supervisor beats every five seconds; one that is silent for so long hangs.
MAX_BEAT_AGE = 30.0
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Memory that this process holds, 0 where the system doesn't tell (proc(5), statm)."""
    try:
        with _STATM.open("rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def release_memory() -> None:
    """Give freed memory back to the system: imports and bursts leave some 5 MB behind. Does nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def report_self(agent: str, outbox: Outbox, supervisor: Supervisor) -> None:
    """Put a reading of kind `agent` into the outbox every minute, until cancelled."""
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        release_memory()
        fields = {
            "memory_bytes": resident_bytes(),
            "outbox_bytes": outbox.bytes,
            "outbox_waiting": outbox.waiting,
            "outbox_hours": outbox.hours,
            "lost": outbox.lost,
            "restarts": supervisor.restarts,
        }
        outbox.add_line(encode_point("agent", agent, AGENT_DEVICE, fields, time.time_ns()))
        await asyncio.sleep(INTERVAL_SECONDS)


async def feed_watchdog(notifier: Notifier, disk: DiskThread, supervisor: Supervisor) -> None:
    """Tell systemd that we live, while event loop, disk thread and supervisor do; until cancelled."""
    limit = notifier.watchdog_seconds
    if limit is None:
        return
    while True:
        # A disk thread that hangs keeps us here, and the watchdog hungry.
        await disk.run(lambda: None)
        if time.monotonic() - supervisor.last_beat < MAX_BEAT_AGE:
            notifier.alive("serves")
        await asyncio.sleep(limit / 3)
