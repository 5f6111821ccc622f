"""The program against the collector's own API over a real control store and a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
import uvicorn

from tests.cli.collector import PROGRAM, ROOT, environment
from tests.collector.api.conftest import Collector
from tests.collector.broadcasts.sounds import tone
from tests.collector.kit import SITE, VILLAGE, add_site, entry, event, state
from tests.collector.people import administrators_token
from village_collector.ports import Sample
from village_collector.stores.control import ControlStore
from village_wire.broadcasts import Stage
from village_wire.commands import Broadcast
from village_wire.events import Alarm, Event, Loss, Receipt


@dataclass
class Ended:
    """How the program ended."""

    code: int
    stdout: str
    stderr: str


class Site:
    """A collector with two agents, served."""

    def __init__(self, collector: Collector, url: str, token: str) -> None:
        self.collector = collector
        self.url = url
        self.token = token

    async def run(self, *words: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            env=environment(self.url, {"VILLAGE_TOKEN": self.token}),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            stdout, stderr = await process.communicate()
        return Ended(process.returncode or 0, stdout.decode(), stderr.decode())

    async def command(self) -> str:
        """The id of the first command that was published."""
        async with asyncio.timeout(10):
            while not self.collector.outbox.sent:
                await asyncio.sleep(0.01)
        return str(self.collector.outbox.commands()[0].id)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlStore]:
    store = ControlStore(f"sqlite:///{tmp_path / 'control.db'}")
    store.open()
    add_site(store, "gate-1", *SITE)
    add_site(store, "gate-2", entry("speaker", "loudspeaker"))
    yield store
    store.close()


@pytest_asyncio.fixture
async def site(control: ControlStore, tmp_path: Path) -> AsyncIterator[Site]:
    collector = Collector(control, tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(collector.app, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)
    token = await asyncio.to_thread(administrators_token, control)
    yield Site(collector, f"http://127.0.0.1:{listener.getsockname()[1]}", token)
    server.should_exit = True
    await serving
    listener.close()


async def test_health(site: Site) -> None:
    good = [state(name) for name in (None, "camera", "reader", "speaker")]
    await site.collector.deliver("gate-1", *good)
    await site.collector.deliver("gate-2", state(None), state("speaker", "degraded", "noise", evidence="9 bad frames"))
    ended = await site.run("health")
    assert (ended.code, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[1].startswith("gate-2/speaker  ")
    assert "9 bad frames" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "6 devices: 1 degraded, 5 ok"
    filtered = await site.run("health", "--status", "down", "--status", "unknown", "--nagios")
    assert (filtered.code, filtered.stdout.partition(" | ")[0]) == (0, "VILLAGE OK - No device has this status.")


async def test_listings(site: Site) -> None:
    await site.collector.deliver("gate-1", event(Alarm(code="tamper", active=True), "reader"))
    for words, told in (
        (("devices",), "gate-1/speaker"),
        (("agents",), "gate-2"),
        (("events", "--since", "2026-01-01", "--area", VILLAGE), "tamper began"),
        (("device", "show", "gate-1/reader"), "FIRMWARE: 2.1"),
        (("dead-letters",), "Nothing to show."),
        (("command", "list"), "Nothing to show."),
    ):
        ended = await site.run(*words)
        assert (ended.code, ended.stderr) == (0, "")
        assert told in ended.stdout
    absent = await site.run("device", "show", "gate-1/absent", "--json")
    assert absent.code == 1
    assert json.loads(absent.stderr)["status"] == 404


async def test_history(site: Site) -> None:
    now = datetime.now(UTC)
    samples = [Sample(now - timedelta(minutes=60 - minute), float(minute)) for minute in range(60)]
    site.collector.telemetry.samples["gate-1", "reader", "sensor", "temperature_c"] = samples
    ended = await site.run("history", "gate-1/reader", "--since", "2h")
    assert (ended.code, ended.stderr) == (0, "")
    assert "gate-1/reader sensor.temperature_c" in ended.stdout
    assert "60 samples, least 0, mean 29.5, most 59" in ended.stdout
    absent = await site.run("history", "gate-1/reader", "absent")
    assert absent.code == 1
    assert "temperature_c" in absent.stderr


def heard(broadcast: str, stage: Stage, reason: str = "") -> Event:
    return event(Receipt(broadcast=UUID(broadcast), stage=stage, reason=reason), "speaker")


async def test_a_broadcast(site: Site) -> None:
    site.collector.now = datetime.now(UTC)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(site.run("broadcast", "say", "下雨了", "--to", VILLAGE))
        identity = await site.command()
        await site.collector.deliver("gate-1", heard(identity, "started"))
        await site.collector.deliver("gate-2", heard(identity, "failed", "amplifier off"))
        await site.collector.deliver("gate-1", heard(identity, "finished"))
    ended = running.result()
    assert (ended.code, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[-1] == "1 of 2 loudspeakers sounded (50 %); not heard: 1"
    shown = await site.run("broadcast", "show", identity)
    assert shown.code == 1
    assert "amplifier off" in shown.stdout
    assert (await site.run("broadcast", "show", identity, "--coverage", "50")).code == 0
    assert "1/2 (50 %)" in (await site.run("broadcast", "list")).stdout


async def test_a_broadcast_that_is_withdrawn(site: Site) -> None:
    site.collector.now = datetime.now(UTC)
    ended = await site.run("broadcast", "say", "x", "--to", VILLAGE, "--to", "gate-1", "--at", "1h", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert (told["state"], told["counts"]["expected"], len(told["targets"])) == ("scheduled", 2, 1)
    withdrawn = await site.run("broadcast", "withdraw", told["id"], "--reason", "a mistake")
    assert (withdrawn.code, withdrawn.stderr) == (0, "")
    assert "Withdrawn by chief" in withdrawn.stdout
    assert "withdrawn" in (await site.run("broadcast", "list")).stdout


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg: apt install ffmpeg")
async def test_a_sound_file_that_is_played(site: Site, tmp_path: Path) -> None:
    site.collector.now = datetime.now(UTC)
    file = await asyncio.to_thread(tone, tmp_path / "anthem.wav")
    ended = await site.run("broadcast", "play", str(file), "--to", VILLAGE, "--no-wait", "--json")
    assert (ended.code, ended.stderr) == (0, "")
    content = json.loads(ended.stdout)["content"]
    assert (content["title"], round(content["audio"]["seconds"])) == ("anthem", 4)
    arguments = site.collector.outbox.commands()[0].arguments
    assert isinstance(arguments, Broadcast)
    assert arguments.audio is not None
    await asyncio.to_thread((tmp_path / "noise.bin").write_bytes, b"no sound")
    bad = await site.run("broadcast", "play", str(tmp_path / "noise.bin"), "--to", VILLAGE)
    assert (bad.code, "can't be used" in bad.stderr) == (1, True)
    empty = await site.run("broadcast", "play", str(tmp_path / "absent.mp3"), "--to", VILLAGE)
    assert (empty.code, "can't be read" in empty.stderr) == (2, True)


async def test_what_the_collector_refuses(site: Site) -> None:
    for words, told in (
        (("broadcast", "say", "x", "--to", "absent"), "absent"),
        (("door", "unlock", "gate-1/speaker"), "gate-1/speaker"),
        (("command", "gate-1/reader", "indicate", "colour=pink"), "colour"),
        (("command", "gate-1/reader", "dance"), "dance"),
        (("broadcast", "say", "x", "--to", "gate-1", "--until", "9d"), "expires_in"),
    ):
        ended = await site.run(*words)
        assert (ended.code, ended.stdout) == (2, "")
        assert told in ended.stderr
        assert ended.stderr.count("\n") == 1


async def test_an_agent_itself(site: Site) -> None:
    now = site.collector.now
    for field, value in {"outbox_hours": 41.5, "outbox_waiting": 3, "outbox_age_s": 60.0}.items():
        site.collector.telemetry.samples["gate-1", "agent", "agent", field] = [Sample(now, value)]
    lost = Loss(item_class="receipt", reason="outbox full", count=7, first=now, last=now)
    await site.collector.deliver("gate-1", event(lost, time=now), received=now)
    shown = await site.run("device", "show", "gate-1")
    assert shown.code == 0, shown.stderr
    assert "DEVICE: gate-1\n" in shown.stdout
    assert "BUFFER: buffer for 41.5 h, 3 waiting since" in shown.stdout
    assert "receipts  outbox full  7" in shown.stdout
    assert "data lost" in shown.stdout
    health = await site.run("health", "--agent", "gate-1", "--status", "degraded")
    assert health.code == 1
    assert "7 of class receipt lost (outbox full)" in health.stdout
    assert "buffer for 41.5 h" in health.stdout
    history = await site.run("history", "gate-1", "outbox_hours", "--json", "--since", "2020-01-01")
    assert [value for _, value in json.loads(history.stdout)["samples"]] == [41.5]
