"""The agent's own readings and states, what it lost, and the signs of life for systemd."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Literal, cast

from village_agent.config import AGENT_DEVICE
from village_agent.disk import DiskThread
from village_agent.memory import release_code, release_memory, resident_bytes
from village_agent.outbox.ledger import ItemClass, Lost
from village_agent.outbox.outbox import Outbox, OutboxUnavailable
from village_agent.outbox.rate import Rate
from village_agent.own_state import OwnState
from village_agent.report import Hub
from village_agent.supervisor import Supervisor
from village_wire.events import Loss
from village_wire.systemd import Notifier
from village_wire.traffic import Traffic

#: How often the agent reports on itself.
INTERVAL_SECONDS = 300.0
#: What monthly traffic is told for: 30 days.
MONTH_SECONDS = 30 * 86_400
#: A start costs more than the hours that follow, and says nothing of a month.
SETTLING_SECONDS = 600.0
#: The first report comes when connecting and first polls are over.
FIRST_SECONDS = 5.0
#: The supervisor beats every second; one that is silent for so long hangs.
MAX_BEAT_AGE = 30.0
#: A loss is told within this time; one that goes on, this often.
LOSS_SECONDS = 60.0
LOSS_AGAIN_SECONDS = 600.0


async def report_self(hub: Hub, outbox: Outbox, supervisor: Supervisor, traffic: Traffic) -> None:
    """Put a reading of kind `agent` into the outbox every five minutes, until cancelled."""
    begun, counted = time.monotonic(), 0
    rate: Rate | None = None
    await asyncio.sleep(FIRST_SECONDS)
    release_code()
    while True:
        release_memory()
        now, total = time.monotonic(), traffic.total
        month: dict[str, float] = {}
        if rate is not None:
            rate.add(total - counted, now)
            month["month_mb"] = round(rate.per_second(now) * MONTH_SECONDS / 1e6, 1)
        elif now - begun >= SETTLING_SECONDS:
            rate = Rate(now)
        counted = total
        fields = {
            "memory_bytes": resident_bytes(),
            "outbox_bytes": outbox.bytes,
            "outbox_waiting": outbox.waiting,
            "outbox_hours": round(outbox.hours, 1),
            "outbox_age_s": round(outbox.age_seconds, 1),
            "lost": outbox.lost,
            **await _lost_by_class(outbox),
            "restarts": supervisor.restarts,
            "sent_bytes": traffic.sent,
            "received_bytes": traffic.received,
            **month,
        }
        hub.reading("agent", AGENT_DEVICE, fields)
        await asyncio.sleep(INTERVAL_SECONDS)


async def report_losses(outbox: Outbox, hub: Hub, now: Callable[[], float] = time.monotonic) -> None:
    """Send each entry of the loss ledger as an event after the start and whenever it has grown, until cancelled.

    Entries hold totals, so that one that comes twice, or late, does no harm.
    """
    told: dict[tuple[ItemClass, str], tuple[int, float]] = {}
    while True:
        for entry in await _losses(outbox):
            count, due = told.get((entry.item_class, entry.reason), (0, 0.0))
            if entry.count != count and now() >= due:
                told[entry.item_class, entry.reason] = entry.count, now() + LOSS_AGAIN_SECONDS
                name = cast("Literal['event', 'receipt', 'telemetry']", entry.item_class.name.lower())
                hub.post(
                    None,
                    Loss(
                        item_class=name,
                        reason=entry.reason,
                        count=entry.count,
                        first=entry.first,
                        last=entry.last,
                    ),
                )
        await asyncio.sleep(LOSS_SECONDS)


def report_disk(own: OwnState, code: str, evidence: str) -> None:
    """Tell what keeps the outbox from being written, or that it works again."""
    own.set("disk", "ok" if code == "works" else "degraded", code, evidence)


async def _losses(outbox: Outbox) -> list[Lost]:
    try:
        return await outbox.losses()
    except OutboxUnavailable:
        return []


async def _lost_by_class(outbox: Outbox) -> dict[str, int]:
    counts = {"lost_events": 0, "lost_receipts": 0, "lost_telemetry": 0}
    names = {ItemClass.EVENT: "lost_events", ItemClass.RECEIPT: "lost_receipts", ItemClass.TELEMETRY: "lost_telemetry"}
    for entry in await _losses(outbox):
        counts[names[entry.item_class]] += entry.count
    return counts


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
