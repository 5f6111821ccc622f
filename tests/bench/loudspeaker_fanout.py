"""How long it takes until the collector knows of a thousand agents that they have a broadcast: simulated ones, on real connections."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench import raw_mqtt
from tests.bench.content import COUNTY, DEVICES, Batch, sites
from tests.bench.fleet import Fleet, FleetAgent
from tests.bench.rig import UNLIMITED, RunningCollector, collector, known, room_for
from tests.bench.rows import NotMeasured, Say
from tests.peers.mosquitto import Mosquitto
from village_wire.events import CONTENT_JSON
from village_wire.ids import uuid7

_SPEAKERS = [device for device, _, _, ability, _, _ in DEVICES if ability == "loudspeaker"]
_PATIENCE_SECONDS = 120.0
_ROUNDS = 3


async def fanout(count: int, say: Say) -> dict[str, Any]:
    """Return `seconds` (the median of some broadcasts) from the request until coverage counts the `queued` of every loudspeaker."""
    room_for(count)
    with tempfile.TemporaryDirectory(prefix="village-bench-") as name:
        folder = Path(name)
        async with (
            Mosquitto(folder, UNLIMITED) as broker,
            collector(folder / "collector", broker.url) as running,
        ):
            fleet = Fleet(broker.port, sites(count, household=True))
            task = asyncio.create_task(fleet.run(), name="fleet")
            try:
                fleet.power_on()
                await fleet.wait_ready(300)
                await known(running, count * len(DEVICES))
                say(f"{count} simulated agents are known")
                return await _rounds(fleet, running, say)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _rounds(fleet: Fleet, running: RunningCollector, say: Say) -> dict[str, Any]:
    arrived: list[float] = []

    def arrival(agent: FleetAgent, message: raw_mqtt.Published) -> None:
        arrived.append(time.monotonic())
        agent.add(_queued(json.loads(message.payload)["id"]))

    fleet.on_command = arrival
    expected = len(fleet.agents) * len(_SPEAKERS)
    taken, last = [], []
    for _ in range(_ROUNDS):
        arrived.clear()
        begun = time.monotonic()
        async with running.client(timeout=60) as client:
            answer = await client.post(
                "/broadcasts",
                json={"targets": [{"area": COUNTY}], "rank": "alert", "text": "请往高处走。", "expires_in": 600},
            )
            if answer.status_code >= 300:
                raise NotMeasured(f"broadcast: {answer.text}")
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    document = (await client.get(f"/broadcasts/{answer.json()['id']}")).json()
                    if _all_queued(document, expected):
                        break
                    await asyncio.sleep(0.05)
        taken.append(time.monotonic() - begun)
        last.append(max(arrived) - begun)
        await fleet.wait_drained(60)
    say(f"all queued after {[round(one, 2) for one in taken]} s")
    return {
        "agents": len(fleet.agents),
        "loudspeakers": expected,
        "rounds_s": [round(one, 2) for one in taken],
        "seconds": round(_median(taken), 2),
        "last_agent_has_it_s": round(_median(last), 3),
    }


def _all_queued(document: dict[str, Any], expected: int) -> bool:
    counts, entries = document["counts"], document["loudspeakers"]
    return (
        counts["expected"] == len(entries) == counts["waiting"] == expected
        and all(entry["stage"] == "queued" for entry in entries)
    )  # fmt: skip


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _queued(command: str) -> Batch:
    """What a real agent tells first: it accepted the command, did it, and each loudspeaker has it."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    found: list[tuple[str, dict[str, str]]] = []
    for device in _SPEAKERS:
        found += [
            (device, {"kind": "command_result", "command": command, "outcome": outcome})
            for outcome in ("accepted", "done")
        ]
        found.append((device, {"kind": "receipt", "broadcast": command, "stage": "queued"}))
    events = [
        {"id": str(uuid7(int(now * 1000))), "time": stamp, "device": device, "data": data} for device, data in found
    ]
    return Batch(uuid.uuid4().hex, True, json.dumps({"events": events}).encode(), CONTENT_JSON, len(events))
