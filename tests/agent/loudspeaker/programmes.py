"""An agent's parts around programmes."""

# ruff: noqa: DTZ001 - what the clock on a wall shows has no offset.
from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from village_agent.commands.addressing import Addressee
from village_agent.disk import DiskThread
from village_agent.identity.keyring import PinnedKey
from village_agent.loudspeaker.programme import Around, Programmes
from village_agent.loudspeaker.schedules import FILE, Schedules
from village_wire.broadcasts import Audio
from village_wire.commands import Broadcast, Target
from village_wire.events import EventData, Receipt
from village_wire.recurrence import Recurrence
from village_wire.schedules import Item, Programme, Schedule, sign_schedule
from village_wire.tags import meant

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VILLAGE = "441900003001"
AREA = Target(area=VILLAGE)
#: Half past six in China.
DUE = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)
WHEN = Recurrence(start=datetime(2026, 11, 24, 6, 30), rule="FREQ=DAILY")
SOUND = Audio(sha256="a" * 64, bytes=1000, seconds=30, token="t")


def programme(identity: str = "morning", **more: Any) -> Programme:
    values = {
        "id": identity,
        "title": "早间防诈",
        "category": "anti_fraud",
        "when": WHEN,
        "items": (Item(text="谨防诈骗"),),
    }
    return Programme.model_validate({**values, **more})


class Box:
    """An agent's parts around programmes; `now` is what its clock shows."""

    def __init__(self, folder: Path, now: datetime, devices: Iterable[str] = ("speaker",)) -> None:
        self.now = now
        self.known = asyncio.Event()
        self.known.set()
        self.disk = DiskThread()
        self.devices = list(devices)
        self.queued: list[tuple[str, UUID, Broadcast]] = []
        self.withdrawn: list[tuple[str, UUID, str]] = []
        self.receipts: list[tuple[str, Receipt]] = []
        self.told: list[tuple[str, str]] = []
        self.sounds: set[str] = set()
        self.addressee = Addressee("lin", VILLAGE, PinnedKey(KEY.public_key()))
        self.schedules = Schedules(self.addressee, folder / FILE, self.disk, lambda: self.now, self.known)
        around = Around(
            self, self._meant, self._prefetch, self._post, lambda *told: self.told.append(told), lambda: self.now, self.known
        )  # fmt: skip
        self.programmes = Programmes(self.schedules, self.disk, around)

    async def queue(self, identity: UUID, broadcast: Broadcast, device: str) -> None:
        if (device, identity) not in [(name, known) for name, known, _ in self.queued]:
            self.queued.append((device, identity, broadcast))

    async def withdraw(self, identity: UUID, device: str, reason: str) -> None:
        self.withdrawn.append((device, identity, reason))

    def _meant(self, target: Target) -> list[str]:
        # Here each device carries its own name as a tag.
        return [name for name in self.devices if target.device in {None, name} and meant({name}, target.tags)]

    def _post(self, device: str, data: EventData) -> None:
        assert isinstance(data, Receipt)
        self.receipts.append((device, data))

    def _prefetch(self, audios: Iterable[Audio]) -> None:
        self.sounds = {audio.sha256 for audio in audios}

    async def begin(self) -> None:
        await self.schedules.load()
        await self.programmes._load()

    async def take(
        self, *programmes: Programme, number: int = 1, target: Target = AREA, key: Ed25519PrivateKey = KEY
    ) -> None:
        await self.schedules._take(sign_schedule(Schedule(target=target, number=number, programmes=programmes), key))

    async def at(self, time: datetime) -> None:
        """The clock shows a time, and the program looks at it."""
        self.now = time
        await self.programmes._step(time.timestamp())

    async def close(self) -> None:
        await self.schedules.close()
        await self.disk.close()

    @property
    def heard(self) -> list[tuple[str, str, datetime | None]]:
        return [(device, broadcast.text or "sound", broadcast.start) for device, _, broadcast in self.queued]
