"""The application over a real control store, as a client on the same machine sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.collector.cap.kit import Sender
from tests.collector.kit import T0, MemoryTelemetry, Outbox, add_site, at, batch, make_authority
from tests.collector.people import CHEAP, administrators_token, bearer
from village_collector.api.app import create_app
from village_collector.api.deps import Deps
from village_collector.audit import Audit
from village_collector.broadcasts.audio import AudioFiles
from village_collector.broadcasts.service import BroadcastService
from village_collector.buffers import Buffers
from village_collector.cap.service import AlertService
from village_collector.commands import CommandService
from village_collector.live.recording import Recorder
from village_collector.live.service import LiveService
from village_collector.people.passwords import Passwords
from village_collector.people.service import People
from village_collector.ports import Problem
from village_collector.schedules.service import ScheduleService
from village_collector.stores.control import ControlStore
from village_collector.trust.enrolment import Addresses, Enrolment
from village_wire.command_keys import CommandKey, CommandKeys, sign_command_keys
from village_wire.events import Event
from village_wire.signed import encode_public_key


class Collector:
    """The parts behind one API."""

    def __init__(self, control: ControlStore, folder: Path) -> None:
        self.now: datetime = at(60)
        self.control = control
        self.telemetry = MemoryTelemetry()
        self.outbox = Outbox()
        self.problems: list[Problem] = []
        self.commands = CommandService(control, self.outbox.signer, self.outbox.publish, now=lambda: self.now)
        self.audit = Audit(control, Ed25519PrivateKey.generate(), now=lambda: self.now)
        self.authority = make_authority()
        self.command_keys = sign_command_keys(
            CommandKeys(number=3, keys=(CommandKey(key=encode_public_key(self.outbox.key.public_key())),)),
            self.authority.key,
        )
        self.enrolment = Enrolment(
            control,
            self.authority,
            self.audit,
            lambda: self.command_keys,
            Addresses("mqtts://collector.village.example", "https://collector.village.example:8480"),
            now=lambda: self.now,
        )
        self.audio = AudioFiles(folder / "audio", lambda: control.audio_in_use(self.now) | control.scheduled_audio())
        self.broadcasts = BroadcastService(
            control,
            self.outbox.signer,
            self.outbox.publish,
            lambda: self.commands.next_arrival,
            self.audio.find,
            now=lambda: self.now,
        )
        self.live = LiveService(
            control,
            self.broadcasts,
            self.outbox.send,
            Recorder(folder / "live"),
            "collector-1",
            lambda: (self.outbox.key,),
            self.audit,
            now=lambda: self.now,
        )
        self.signer = Sender(begin=T0 - timedelta(days=1), end=T0 + timedelta(days=300))
        self.alerts = AlertService(
            control, self.broadcasts, self.audio, self.audit, [self.signer.signer], now=lambda: self.now
        )
        self.schedules = ScheduleService(control, self.outbox.signer, self.outbox.publish, lambda: self.now)
        self.deps = Deps(
            control=control,
            telemetry=self.telemetry,
            commands=self.commands,
            problems=lambda: self.problems,
            buffers=Buffers(self.telemetry),
            people=People(control, now=lambda: self.now, passwords=Passwords(CHEAP)),
            audit=self.audit,
            enrolment=self.enrolment,
            broadcasts=self.broadcasts,
            audio=self.audio,
            live=self.live,
            schedules=self.schedules,
            alerts=self.alerts,
            public_url="http://collector.village.example:8480",
            now=lambda: self.now,
        )
        self.app = create_app(self.deps)

    def client(self, token: str) -> httpx.AsyncClient:
        """A client that shows a token."""
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8480/api/v1", headers=bearer(token) if token else {}
        )

    async def deliver(self, agent: str, *events: Event, received: datetime = T0) -> None:
        await asyncio.to_thread(self.control.store_events, [batch(agent, *events, received=received)])
        self.commands.results_arrived()


@pytest.fixture
def collector(control: ControlStore, tmp_path: Path) -> Collector:
    add_site(control)
    return Collector(control, tmp_path)


@pytest_asyncio.fixture
async def client(collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator, who is called chief."""
    token = await asyncio.to_thread(administrators_token, collector.control, T0)
    async with collector.client(token) as client:
        yield client


def document(response: httpx.Response, name: str, status: int = 200) -> dict[str, Any]:
    """The body of a good answer."""
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    assert found["schema"] == f"village.{name}/1"
    return found


def problem(response: httpx.Response, status: int) -> str:
    """The detail of an error, which has the form of RFC 9457 and says what to do."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert (found["type"], found["status"]) == ("about:blank", status)
    assert found["title"]
    assert found["advice"]["en"]
    assert found["advice"]["zh"]
    return str(found["detail"])
