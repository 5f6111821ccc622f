"""One collector's parts for alerts, with a broker of the test."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.collector.cap.kit import NOW, Sender, rainstorm
from tests.collector.kit import Outbox
from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.normalising import BadAudio
from village_collector.broadcasts.service import BroadcastService
from village_collector.cap.alert import Alert
from village_collector.cap.service import AlertService, Received
from village_collector.stores.audit_records import AuditFilter
from village_collector.stores.cap_records import StoredAlert
from village_collector.stores.control import ControlStore
from village_wire.audit import Act, read_entry
from village_wire.commands import Broadcast, Command, Withdraw

SENDER = Sender()
OTHER = Sender("other.example.cn", feed="other")


async def _convert(source: Path, target: Path) -> float:
    content = await asyncio.to_thread(source.read_bytes)
    if b"sound" not in content:
        raise BadAudio("it is no sound file")
    await asyncio.to_thread(target.write_bytes, content)
    return 3.0


class Site:
    """One collector's parts for alerts."""

    def __init__(self, control: ControlStore, folder: Path) -> None:
        self.now = NOW
        self.control = control
        self.outbox = Outbox()
        self.audit = Audit(control, now=lambda: self.now)
        self.audio = AudioFiles(folder, lambda: control.audio_in_use(self.now), _convert)
        arrival = asyncio.Event()
        self.broadcasts = BroadcastService(
            control, self.outbox.signer, self.outbox.publish, lambda: arrival, self.audio.find, now=lambda: self.now
        )
        signers = [SENDER.signer, OTHER.signer]
        self.service = AlertService(control, self.broadcasts, self.audio, self.audit, signers, now=lambda: self.now)

    async def receive(self, alert: Alert | bytes, sender: Sender = SENDER, **more: Any) -> Received:
        scope = more.pop("scope", None)
        return await self.service.receive(sender.sign(alert), "feeder", "10.0.0.9", scope, **more)

    def heard(self) -> list[Command]:
        return [command for command in self.outbox.commands() if isinstance(command.arguments, Broadcast)]

    def taken_back(self) -> list[str]:
        return [str(one.arguments.broadcast) for one in self.outbox.commands() if isinstance(one.arguments, Withdraw)]

    async def acts(self) -> list[Act]:
        found = await asyncio.to_thread(self.control.audit, AuditFilter(), 100)
        return [read_entry(text).act for _, text in reversed(found)]

    async def recent(self, limit: int = 9) -> list[StoredAlert]:
        return await asyncio.to_thread(self.control.recent_alerts, limit)


def update(of: Alert, info: dict[str, Any] | None = None, **more: Any) -> Alert:
    made = rainstorm(info or {}, identifier="rain-2", sent=of.sent + timedelta(seconds=10), message_type="Update")
    return replace(made, **{"references": (of.reference,), **more})
