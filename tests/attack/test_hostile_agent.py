"""An enrolled box in wrong hands: through a real broker to the real program, beside an honest neighbour who must notice nothing.

What the broker lets it do is proved in `tests/collector/mosquitto`; here it does everything that it may do under its own name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from tests.attack.server import Server, collector
from tests.cli.collector import PROGRAM, ROOT, environment
from tests.collector.kit import T0, add_site, batch, entry, inventory, result
from tests.collector.people import trust
from village_collector.allowance import MAX_NAMES
from village_collector.stores.control import ControlStore
from village_collector.stores.control_reads import EventFilter
from village_collector.stores.merging import MAX_UNEXPECTED
from village_wire.address import BrokerAddress, SessionError, SessionSettings, Subscription
from village_wire.connection import Connection, connect
from village_wire.events import Alarm, Event, encode_events
from village_wire.ids import uuid7
from village_wire.outgoing import Publication
from village_wire.points import CONTENT_LINES, MAX_MESSAGE_BYTES
from village_wire.presence import Ack, decode_message, encode_message

#: For so long the hostile agent sends what it can.
SECONDS = 4.0
#: A neighbour's event is on disk after some tens of milliseconds; a busy machine may take longer.
PATIENCE = 10.0
ACTING = "\x1b]0;owned\x07\x1b[2J\u202e\r\n| 'quoted' \\ \u2028"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with collector(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@asynccontextmanager
async def connected(server: Server, name: str) -> AsyncIterator[Connection]:
    async with connect(SessionSettings(BrokerAddress(server.broker), name)) as connection:
        await connection.subscribe([Subscription(f"village/1/agent/{name}/ack", 1)])
        yield connection


def message(
    agent: str, channel: str, payload: bytes, content: str = CONTENT_LINES, batch_id: str = "", **more: bool
) -> Publication:
    top = f"village/1/agent/{agent}"
    return Publication(
        f"{top}/{channel}",
        payload,
        content_type=content,
        response_topic=f"{top}/ack" if batch_id else "",
        correlation=batch_id.encode(),
        **more,
    )


def event(identity: UUID | None = None, evidence: str = "", device: str | None = None) -> Event:
    now = datetime.now(UTC)
    return Event(
        id=identity or uuid7(int(now.timestamp() * 1000)),
        time=now,
        device=device,
        data=Alarm(code="tamper", active=True, evidence=evidence),
    )


async def _honest(server: Server, until: float) -> list[float]:
    """Send an event every fifth of a second; return how long each took to be on the collector's disk."""
    took: list[float] = []
    async with connected(server, "honest") as connection:
        acks = connection.messages()
        while time.monotonic() < until:
            wanted, began = uuid4().hex, time.monotonic()
            payload = encode_events([event()])
            async with asyncio.timeout(PATIENCE):
                # Not acknowledged: it is sent again, as an agent does.
                while True:
                    await connection.publish(message("honest", "event", payload, "application/json", wanted))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(2):
                            async for answer in acks:
                                if wanted in decode_message(Ack, answer.payload).stored:
                                    break
                        break
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
    return took


def _everything() -> Iterator[Publication]:
    """All that an agent may send, each time another, and each of it bad or large."""
    number = 0
    while True:
        number += 1
        now = time.time_ns()
        devices = tuple(
            entry(f"d{number}-{place}", "door", name=ACTING[:70], firmware=ACTING[:70]) for place in range(500)
        )
        yield message("evil", "inventory", encode_message(inventory("evil", *devices)), retain=True)
        yield message("evil", "inventory", encode_message(inventory("honest")))
        status = {"online": number % 2 == 0, "session": f"{number:032x}", "version": ACTING[:20], "connection": 1}
        yield message("evil", "status", json.dumps(status).encode())
        lines = "\n".join(f"sensor,agent=evil,device=x{number}-{place} value=1.0 {now}" for place in range(500))
        yield message("evil", "telemetry", lines.encode(), batch_id=uuid4().hex)
        yield message("evil", "telemetry", lines.replace("agent=evil", "agent=honest").encode(), batch_id=uuid4().hex)
        yield message("evil", "telemetry", b"\xff" * 1000, "influx-line+zlib", batch_id=uuid4().hex)
        yield message("evil", "event", encode_events([event(evidence=ACTING * 20)] * 100), batch_id=uuid4().hex)
        yield message("evil", "event", b"{" * 10_000, batch_id=uuid4().hex)
        yield message("evil", "event", b"x" * (MAX_MESSAGE_BYTES + 1), batch_id=uuid4().hex)
        yield message("evil", "time", json.dumps({"nonce": f"{number:032x}"}).encode())
        yield message("evil", "ack", b"{}")


async def _hostile(server: Server, until: float) -> int:
    sent = 0
    everything = _everything()
    while time.monotonic() < until:
        with contextlib.suppress(SessionError, OSError):
            async with connected(server, "evil") as connection:
                while time.monotonic() < until:
                    await connection.publish(next(everything))
                    sent += 1
    return sent


@pytest.mark.timeout(90)
async def test_a_box_gone_mad_harms_nobody_but_itself(server: Server) -> None:
    until = time.monotonic() + SECONDS
    before = await asyncio.to_thread(lambda: server.memory)
    async with asyncio.TaskGroup() as group:
        honest = group.create_task(_honest(server, until), name="honest")
        hostile = group.create_task(_hostile(server, until), name="hostile")
    assert hostile.result() > 50
    assert honest.result()
    # What waited is worked off; then everything is as it was.
    after = await _honest(server, time.monotonic() + 0.5)
    assert max(after) < PATIENCE
    await asyncio.to_thread(_check, server, before)


def _check(server: Server, before: int) -> None:
    assert server.memory - before < 200_000_000
    size = sum(file.stat().st_size for file in server.folder.glob("*.db*"))
    assert size < 150_000_000
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(
        base_url=f"{server.url}/api/v1", verify=trust(server.folder, server.url), headers=headers, timeout=20
    ) as api:
        for path in ("/health", "/agents", "/devices", "/events", "/dead-letters", "/audit", "/devices/honest/reader"):
            began = time.monotonic()
            answer = api.get(path)
            assert answer.status_code in {200, 404}, (path, answer.text[:300])
            assert time.monotonic() - began < 10, path
            assert len(answer.content) < 5_000_000, path
        devices = api.get("/devices").json()["devices"]
        named = {(row["agent"], row["device"]) for row in devices}
        assert len([agent for agent, _ in named if agent == "evil"]) <= 501
        # Nobody speaks for another: no device, no reading.
        assert {device for agent, device in named if agent == "honest"} <= {""}
        readings = api.get("/devices/honest/x1-1")
        assert readings.status_code == 404 or readings.json()["readings"] == []
    log = server.log()
    assert "Traceback" not in log
    assert len(log) < 200_000
    assert "\x1b" not in log
    for words in (
        ("devices",),
        ("agents",),
        ("events",),
        ("dead-letters",),
        ("health",),
        ("--lang", "zh", "device", "show", "evil"),
    ):
        shown = _village(server, *words)
        acting = {sign for sign in shown if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}
        assert not acting, (words, acting)
        assert "owned" in shown or words[0] in {"dead-letters", "--lang"}


def _village(server: Server, *words: str) -> str:
    more = {"VILLAGE_TOKEN": server.token, "VILLAGE_CA": str(server.folder / "ca.pem"), "COLUMNS": "300"}
    done = subprocess.run(
        [*PROGRAM, *words],
        env=environment(server.url, more),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    yield store
    store.close()


def test_events_of_others_are_not_overwritten(control: ControlStore) -> None:
    mine = event(evidence="the truth")
    control.store_events([batch("honest", mine)])
    control.store_events([batch("evil", event(mine.id, "a lie")), batch("evil", event(evidence="its own"))])
    found = control.events(EventFilter(), 10).events
    assert sorted((one.agent, one.data["evidence"]) for one in found) == [("evil", "its own"), ("honest", "the truth")]


def test_results_of_others_are_not_overwritten_nor_counted(control: ControlStore) -> None:
    add_site(control, "honest", entry("gate", "door"))
    add_site(control, "evil", entry("gate", "door"))
    command = str(uuid4())
    target = {"agent": "honest", "device": "gate"}
    control.add_command(
        command,
        T0,
        T0 + timedelta(minutes=1),
        "li",
        target,
        {"kind": "unlock"},
        ("door",),
        agent="honest",
        device="gate",
    )
    lies = [
        result(command, "done", device, time=T0 + timedelta(hours=1)) for device in ("gate", None, "honest", "other")
    ]
    control.store_events([batch("evil", *lies)])
    progress = control.command_progress(command)
    assert progress is not None
    assert (progress.answered, progress.final) == (0, 0)
    control.store_events([batch("honest", result(command, "refused", "gate", reason="no"))])
    progress = control.command_progress(command)
    assert progress is not None
    assert (progress.answered, progress.final) == (1, 1)
    found = control.command(command)
    assert found is not None
    assert [(one.outcome, one.reason) for one in found[2] if one.agent == "honest"] == [("refused", "no")]


def test_answers_that_nobody_asked_for_are_few(control: ControlStore) -> None:
    add_site(control, "honest", entry("gate", "door"))
    command = str(uuid4())
    control.add_command(
        command, T0, T0 + timedelta(minutes=1), "li", {"agent": "honest"}, {"kind": "unlock"}, ("door",), agent="honest"
    )
    for start in range(0, 400, 100):
        control.store_events(
            [batch("evil", *(result(command, "done", f"x{place}") for place in range(start, start + 100)))]
        )
    found = control.command(command)
    assert found is not None
    assert len([one for one in found[2] if one.agent == "evil"]) == MAX_UNEXPECTED
    # An expected answer finds its place all the same.
    control.store_events([batch("honest", result(command, "done", "gate"))])
    progress = control.command_progress(command)
    assert progress is not None
    assert progress.final == 1


def test_the_bound_on_names_is_over_what_any_inventory_holds() -> None:
    from village_wire.presence import MAX_DEVICES

    assert MAX_NAMES >= 2 * MAX_DEVICES
