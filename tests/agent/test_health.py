"""The agent's readings of itself and its watchdog, against a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.kit import running, site, until
from village_agent import health
from village_agent.health import feed_watchdog, report_losses, report_self
from village_agent.outbox.items import Lane
from village_agent.outbox.ledger import ItemClass
from village_agent.supervisor import Supervisor
from village_wire.events import Event, Loss
from village_wire.systemd import Notifier
from village_wire.traffic import Traffic


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def heard(manager: socket.socket) -> int:
    count = 0
    while True:
        try:
            count += b"WATCHDOG=1" in manager.recv(1000)
        except BlockingIOError:
            return count


async def test_the_agent_reports_on_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIRST_SECONDS", 0)
    async with site(tmp_path) as parts:
        supervisor = Supervisor(parts.roster, parts.hub)
        async with running(report_self(parts.hub, parts.outbox, supervisor, Traffic())):
            await until(lambda: parts.outbox.waiting == 1)
            await until(lambda: parts.outbox.bytes > 0)
        batch = await parts.outbox.next_batch(Lane.TELEMETRY)
        assert batch is not None
        line = batch.contents[0].decode()
        assert line.startswith("agent,agent=box,device=agent memory_bytes=")
        for field in (
            "outbox_bytes=",
            "outbox_waiting=",
            "outbox_hours=",
            "outbox_age_s=",
            "lost=0i",
            "lost_events=0i",
            "restarts=0i",
            "sent_bytes=0i",
        ):
            assert field in line
        assert "month_mb" not in line


async def test_a_month_is_told_once_the_start_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIRST_SECONDS", 0)
    monkeypatch.setattr(health, "INTERVAL_SECONDS", 0.3)
    monkeypatch.setattr(health, "SETTLING_SECONDS", 0)
    traffic = Traffic()
    traffic.wrote(1_000_000, 0.0)
    async with site(tmp_path) as parts:
        await until(lambda: parts.outbox.bytes > 0)
        async with running(report_self(parts.hub, parts.outbox, Supervisor(parts.roster, parts.hub), traffic)):
            await until(lambda: parts.outbox.waiting == 1)
            traffic.wrote(1000, 0.0)
            lines: list[bytes] = []
            async with asyncio.timeout(10):
                while len(lines) < 2:
                    batch = await parts.outbox.next_batch(Lane.TELEMETRY)
                    lines += b"\n".join(batch.contents).split(b"\n") if batch is not None else []
                    await asyncio.sleep(0.01)
        # 1,052 bytes in what counts as a minute.
        assert [b"month_mb=45.4" in line for line in lines[:2]] == [False, True]


async def test_the_ledger_is_told_when_it_grows_and_not_too_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LOSS_SECONDS", 0.01)
    now = [0.0]

    def told(events: list[Event]) -> list[tuple[str, str, int]]:
        return [
            (event.data.item_class, event.data.reason, event.data.count)
            for event in events
            if isinstance(event.data, Loss)
        ]

    async with site(tmp_path) as parts, running(report_losses(parts.outbox, parts.hub, lambda: now[0])):
        parts.outbox.note_loss(ItemClass.TELEMETRY, "outbox full", 5)
        await parts.until("loss")
        for _ in range(3):
            parts.outbox.note_loss(ItemClass.TELEMETRY, "outbox full", 5)
            await asyncio.sleep(0.03)
        parts.outbox.note_loss(ItemClass.EVENT, "because", 1)
        await parts.until("loss", lambda events: len(events) == 2)
        assert told(await parts.events()) == [("telemetry", "outbox full", 5), ("event", "because", 1)]
        now[0] += health.LOSS_AGAIN_SECONDS
        await parts.until("loss", lambda events: len(events) == 3)
        assert told(await parts.events())[-1] == ("telemetry", "outbox full", 20)
    async with site(tmp_path) as parts, running(report_losses(parts.outbox, parts.hub)):
        # After a start the totals are told again: the last word before it may be lost.
        await parts.until("loss", lambda events: len(set(told(events)[-2:])) == 2 and len(events) >= 2)


async def test_the_watchdog_is_fed_only_while_the_parts_live(tmp_path: Path, manager: socket.socket) -> None:
    environment = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "60000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier(environment)
    async with site(tmp_path) as parts:
        supervisor = Supervisor(parts.roster, parts.hub)
        async with running(feed_watchdog(notifier, parts.disk, supervisor)):
            fed = 0
            async with asyncio.timeout(5):
                while fed < 3:
                    fed += heard(manager)
                    await asyncio.sleep(0.01)
            supervisor.last_beat = time.monotonic() - 100
            await asyncio.sleep(0.05)
            heard(manager)
            await asyncio.sleep(0.2)
            assert heard(manager) == 0
            supervisor.last_beat = time.monotonic()
            await asyncio.sleep(0.1)
            assert heard(manager) > 0
            blocked = asyncio.create_task(parts.disk.run(lambda: time.sleep(0.5)))
            await asyncio.sleep(0.1)
            heard(manager)
            await asyncio.sleep(0.2)
            assert heard(manager) == 0
            await blocked
    notifier.close()


async def test_without_systemd_nothing_is_fed(tmp_path: Path) -> None:
    async with site(tmp_path) as parts:
        await feed_watchdog(Notifier({}), parts.disk, Supervisor(parts.roster, parts.hub))
