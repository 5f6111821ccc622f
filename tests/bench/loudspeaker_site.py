"""Real agents that play into PulseAudio sinks, a LAN of snapclients that do too, and a collector's view of what they played."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import wave
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import create_connection
from typing import Any

import httpx

from tests.bench import raw_mqtt
from tests.bench.rig import RunningCollector, stop
from tests.bench.rows import NotMeasured
from tests.bench.sound_match import RATE, noise
from tests.peers import free_port, peer
from tests.peers.pulseaudio import PulseAudio

AREA, LAN_AREA = "330110101205", "330110101206"
LAN = "lan"
_LAN_BUFFER = 1.0
_PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def agents(
    folder: Path, pulse: PulseAudio, broker: str, running: RunningCollector, outputs: Mapping[str, Sequence[str]]
) -> AsyncIterator[None]:
    """Run agents, each with a loudspeaker for each of its sinks, named as these."""
    folder.mkdir()
    async with AsyncExitStack() as stack:
        for agent, sinks in outputs.items():
            devices = [{"id": sink, "driver": "sound", "output": f"pulse:{sink}", "voice": ""} for sink in sinks]
            await stack.enter_async_context(_agent(folder / agent, pulse, broker, running, AREA, devices))
        await _ready(running, sum(len(sinks) for sinks in outputs.values()))
        yield


@asynccontextmanager
async def lan(folder: Path, pulse: PulseAudio, broker: str, running: RunningCollector) -> AsyncIterator[None]:
    """Run a snapserver, a snapclient into each sink, and the agent `lan` with the group as one loudspeaker."""
    folder.mkdir()
    control, port, source = free_port(), free_port(), free_port()
    (folder / "snapserver.conf").write_text(
        f"[server]\ndatadir = {folder}\n[http]\nenabled = false\n"
        f"[tcp]\nenabled = true\nbind_to_address = 127.0.0.1\nport = {control}\n"
        f"[stream]\nbind_to_address = 127.0.0.1\nport = {port}\nbuffer = {_LAN_BUFFER * 1000:.0f}\n"
        f"source = tcp://127.0.0.1:{source}?mode=server&name=village&sampleformat=48000:16:1&codec=pcm\n[logging]\nsink = null\n"
    )
    environment = {**os.environ, **pulse.environment, "HOME": str(folder)}
    programs: list[tuple[str, ...]] = [(str(peer("snapserver")), "-c", str(folder / "snapserver.conf"))]
    programs += [
        (
            str(peer("snapclient")), "-h", "127.0.0.1", "-p", str(port), "--hostID", sink,
            "--player", "pulse", "--soundcard", sink, "--logsink", "null",
        )
        for sink in pulse.sinks
    ]  # fmt: skip
    async with AsyncExitStack() as stack:
        for program in programs:
            process = await asyncio.create_subprocess_exec(*program, stdout=DEVNULL, stderr=DEVNULL, env=environment)
            stack.push_async_callback(stop, process)
            await _listening(port)
        device = {
            "id": "group", "driver": "snapcast", "port": control, "stream": "village", "channels": 1, "voice": "",
            "buffer_seconds": _LAN_BUFFER, "check_seconds": 1,
        }  # fmt: skip
        await stack.enter_async_context(_agent(folder / LAN, pulse, broker, running, LAN_AREA, [device]))
        await _ready(running, len(pulse.sinks) + 1)
        yield


@asynccontextmanager
async def _agent(
    folder: Path,
    pulse: PulseAudio,
    broker: str,
    running: RunningCollector,
    area: str,
    devices: Sequence[Mapping[str, object]],
) -> AsyncIterator[None]:
    folder.mkdir()
    tables: list[tuple[str, Mapping[str, object]]] = [
        ("[agent]", {"id": folder.name, "area": area, "state_dir": str(folder / "state")}),
        ("[collector]", {"broker": broker, "command_key": running.command_key, "api": running.api}),
        *(("[[devices]]", device) for device in devices),
    ]
    (folder / "agent.toml").write_text(
        "\n".join(
            f"{name}\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in tables
        )
    )
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "village_agent.cli", "run", "--config", str(folder / "agent.toml"),
            stdout=log, stderr=log, env={**os.environ, **pulse.environment},
        )  # fmt: skip
    try:
        yield
    finally:
        await stop(process)


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


async def _ready(running: RunningCollector, count: int) -> None:
    """Wait until the collector calls so many loudspeakers ok; raises `NotMeasured` with what it calls them instead."""
    states: Mapping[str, str] = {}
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), running.client() as client:
            while True:
                answer = await client.get("/devices")
                states = {row["device"]: row["status"] for row in answer.json()["devices"]}
                if list(states.values()).count("ok") >= count:
                    return
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise NotMeasured(f"not all of {count} loudspeakers are ok: {dict(states)}") from None


class Caller:
    """Who broadcasts: a client of the API."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def upload(self, folder: Path, seconds: float, seed: int) -> str:
        """Upload noise; return by what a broadcast names it."""
        file = folder / f"noise-{seed}.wav"
        with wave.open(str(file), "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(RATE)
            writer.writeframes(noise(seconds, seed).tobytes())
        answer = await self._client.put("/audio", content=file.read_bytes(), timeout=60)
        if answer.status_code >= 300:
            raise NotMeasured(f"upload: {answer.text}")
        return str(answer.json()["sha256"])

    async def issue(self, target: Mapping[str, str], audio: str, **more: Any) -> str:
        """Broadcast a file; return the broadcast's id."""
        request = {"targets": [target], "audio": audio, "chime": False, **more}
        answer = await self._client.post("/broadcasts", json=request)
        if answer.status_code >= 300:
            raise NotMeasured(f"broadcast: {answer.text}")
        return str(answer.json()["id"])

    async def over(self, broadcast: str) -> list[dict[str, Any]]:
        """Wait until each loudspeaker has told its last; return what they told."""
        seen = 0
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                answer = await self._client.get(
                    f"/broadcasts/{broadcast}", params={"wait": 20, "seen": seen}, timeout=30
                )
                document = answer.json()
                seen = document["revision"]
                if document["state"] in ("done", "over"):
                    found: list[dict[str, Any]] = document["loudspeakers"]
                    return found


def wall(moment: float) -> str:
    """A monotonic time as the API takes it."""
    return datetime.fromtimestamp(time.time() + moment - time.monotonic(), UTC).isoformat()


def decoded(folder: Path, sha256: str) -> memoryview:
    """What an agent's file holds, as a player is given it: 16 bit samples of `RATE`."""
    file = next((path for path in folder.rglob("*") if path.is_file() and sha256 in path.name), None)
    if file is None:
        raise NotMeasured(f"the agent in {folder} has no file {sha256}")
    done = subprocess.run(
        [
            str(peer("ffmpeg")), "-v", "error", "-i", str(file), "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-"
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return memoryview(done.stdout).cast("h")


@contextmanager
def commands(port: int) -> Iterator[dict[str, float]]:
    """When each command passed the broker (monotonic), by its id; the dictionary fills while the block runs."""
    seen: dict[str, float] = {}
    connection = create_connection(("127.0.0.1", port))
    connection.sendall(raw_mqtt.connect("bench-witness", 0, 0, "bench/will", b"", clean=True))

    def listen() -> None:
        packets = raw_mqtt.Packets()
        while data := connection.recv(65536):
            for kind, flags, body in packets.feed(data):
                if kind == raw_mqtt.CONNACK:
                    connection.sendall(raw_mqtt.subscribe(1, ["village/1/agent/+/command", "village/1/area/+/command"]))
                elif kind == raw_mqtt.PUBLISH:
                    message = raw_mqtt.read_publish(flags, body)
                    seen.setdefault(json.loads(message.payload).get("id", ""), time.monotonic())
                    connection.sendall(raw_mqtt.puback(message.number))

    thread = threading.Thread(target=listen, name="witness", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        connection.shutdown(2)
        thread.join()
        connection.close()
