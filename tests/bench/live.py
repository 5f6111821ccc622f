"""Latency of live voice, from the mouth to the ear, on recorded sound.

PulseAudio has one sink of two channels: bursts of noise are played into the left one, whose monitor is the microphone of
`village broadcast live`; the agent plays into the right one. One recording of both shows the distance of each burst, with all there
is in between: microphone, encoder, HTTP, collector, mosquitto, a bad link (`bad_link.py`), agent, jitter buffer, decoder, player.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import random
import statistics
import struct
import sys
import tempfile
import wave
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from tests.bench.bad_link import bad_link
from tests.bench.rig import UNLIMITED, RunningCollector, collector, known, stop
from tests.bench.rows import NotMeasured, Say
from tests.peers import peer
from tests.peers.mosquitto import Mosquitto

RATE = 48_000
AGENT, AREA = "horn-box", "330110101205"
#: Bursts come apart by more than any latency that is worth measuring.
_EVERY, _BURST = 1.6, 0.12
_BLOCK = RATE // 200
_LOUD = 2000


def live_latency(quick: bool, say: Say) -> dict[str, Any]:
    """Return `live_latency_s` (median), its p99 and worst, the same without the bad link, and what was heard of all bursts."""
    return asyncio.run(_measure(15 if quick else 120, say))


async def _measure(bursts: int, say: Say) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, bad in (("direct", False), ("bad_link", True)):
        with tempfile.TemporaryDirectory(prefix="village-live-") as place:
            distances, evidence = await _round(Path(place), bursts, bad=bad)
        if not distances:
            raise NotMeasured(f"no burst was heard: {evidence}")
        ordered = sorted(distances)
        result[name] = {
            "p50_s": round(statistics.median(ordered), 3),
            "p99_s": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3),
            "worst_s": round(ordered[-1], 3),
            "bursts": bursts,
            "heard": len(distances),
            "evidence": evidence,
        }
        say(f"{name}: {result[name]}")
    return {"live_latency_s": result["bad_link"]["p50_s"], **result}


async def _round(folder: Path, bursts: int, *, bad: bool) -> tuple[list[float], str]:
    async with (
        _room(folder) as environment,
        Mosquitto(folder, UNLIMITED) as broker,
        collector(folder / "collector", broker.url) as running,
        bad_link(broker.port) if bad else nullcontext(broker.port) as port,
        _agent(folder, port, running.command_key, environment),
    ):
        async with asyncio.timeout(20):
            await known(running, 1)
        _write_bursts(folder / "bursts.wav", bursts)
        speaking = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "village_cli.main", "broadcast", "live", "--to", AREA, "--from", "pulse:microphone",
            "--no-chime", "--json", stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
            env={**environment, **_credentials(folder, running)},
        )  # fmt: skip
        assert speaking.stderr is not None
        assert speaking.stdout is not None
        said = b""
        while b"Speak now" not in said:
            line = await speaking.stderr.readline()
            said += line
            if not line:
                raise NotMeasured(said.decode())
        recorder = await asyncio.create_subprocess_exec(
            "parec", "--device=room.monitor", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=2",
            stdout=PIPE, env=environment,
        )  # fmt: skip
        assert recorder.stdout is not None
        recording = asyncio.create_task(recorder.stdout.read(-1))
        await asyncio.sleep(1.0)
        player = await asyncio.create_subprocess_exec(
            "paplay", "--device=mouth", folder / "bursts.wav", env=environment
        )
        await player.wait()
        await asyncio.sleep(1.5)
        speaking.send_signal(2)
        output, errors = await speaking.communicate()
        recorder.terminate()
        recorded = await recording
        await recorder.wait()
        if not output:
            raise NotMeasured(errors.decode())
        document = json.loads(output)
        evidence = " ".join(one["evidence"] or f"{one['stage']}: {one['reason']}" for one in document["loudspeakers"])
    return await asyncio.to_thread(_distances, recorded), evidence


def _credentials(folder: Path, running: RunningCollector) -> dict[str, str]:
    return {"VILLAGE_URL": running.api, "VILLAGE_TOKEN": running.token, "HOME": str(folder), "VILLAGE_LANG": "en"}


@asynccontextmanager
async def _room(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A PulseAudio in which mouth and ear are two channels of one sink, so that one recording holds both."""
    pulse = folder / "pulse"
    pulse.mkdir(mode=0o700)
    socket = pulse / "socket"
    environment = {**os.environ, "PULSE_SERVER": f"unix:{socket}", "HOME": str(pulse), "XDG_RUNTIME_DIR": str(pulse)}
    modules = (
        f"module-null-sink sink_name=room rate={RATE} channels=2 channel_map=front-left,front-right norewinds=1",
        "module-remap-sink sink_name=mouth master=room channels=1 channel_map=mono master_channel_map=front-left remix=no",
        "module-remap-sink sink_name=ear master=room channels=1 channel_map=mono master_channel_map=front-right remix=no",
        (
            "module-remap-source source_name=microphone master=room.monitor channels=1 channel_map=mono "
            "master_channel_map=front-left remix=no"
        ),
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
    )
    loaded = [word for module in modules for word in ("-L", module)]
    with (pulse / "log").open("wb") as log:
        daemon = await asyncio.create_subprocess_exec(
            str(peer("pulseaudio")), "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes",
            *loaded, stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    try:
        async with asyncio.timeout(10):
            while not socket.exists():
                if daemon.returncode is not None:
                    raise NotMeasured((pulse / "log").read_text())
                await asyncio.sleep(0.02)
        yield environment
    finally:
        await stop(daemon)


@asynccontextmanager
async def _agent(folder: Path, port: int, key: str, environment: dict[str, str]) -> AsyncIterator[None]:
    config = folder / "agent.toml"
    config.write_text(
        f'[agent]\nid = "{AGENT}"\narea = "{AREA}"\nstate_dir = "state"\n'
        f'[collector]\nbroker = "mqtt://127.0.0.1:{port}"\ncommand_key = "{key}"\n'
        '[[devices]]\nid = "horn"\ndriver = "sound"\noutput = "pulse:ear"\nvoice = ""\n'
    )
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "village_agent.cli",
            "run",
            "--config",
            config,
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        yield
    finally:
        await stop(process)


def _write_bursts(path: Path, count: int) -> None:
    rng = random.Random(1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for _ in range(count):
            burst = int(_BURST * RATE)
            silence = int((_EVERY + rng.uniform(-0.1, 0.1)) * RATE) - burst
            file.writeframes(struct.pack(f"<{burst}h", *(rng.randint(-12000, 12000) for _ in range(burst))))
            file.writeframes(bytes(2 * silence))


def _distances(recorded: bytes) -> list[float]:
    """Seconds from each burst on the left to the next one on the right that begins before another follows on the left."""
    samples = array.array("h", recorded[: len(recorded) // 4 * 4])
    mouth, ear = _onsets(samples[0::2]), _onsets(samples[1::2])
    found = []
    for begin in mouth:
        after = [at - begin for at in ear if 0 < at - begin < _EVERY - 0.3]
        found += after[:1]
    return found


def _onsets(samples: array.array[int]) -> list[float]:
    found: list[float] = []
    last = -1.0
    for at in range(0, len(samples) - _BLOCK, _BLOCK):
        if max(map(abs, samples[at : at + _BLOCK])) < _LOUD:
            continue
        now = at / RATE
        if now - last > 0.5:
            found.append(now)
        last = now
    return found


if __name__ == "__main__":
    print(json.dumps(live_latency("--quick" in sys.argv, lambda text: print(text, file=sys.stderr)), indent=1))
