"""Broadcasts, and what was heard of them."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import struct
import wave
from pathlib import Path
from typing import Any

from village_demo.desk import Desk, StepFailed
from village_demo.site import TOWNSHIP

ANNOUNCEMENT = "各位村民请注意，今晚有大雨，请不要到河边去。Heavy rain tonight."
LOUDSPEAKERS = {"lin/square-speaker", "shan/hill-speaker", "shan/hall-speaker"}


async def broadcast(desk: Desk) -> str:
    """Every loudspeaker's receipt says heard, and both chips spoke the text."""
    code, text, errors = await desk.village.village(
        "broadcast", "say", ANNOUNCEMENT, "--to", TOWNSHIP, "--until", "2m", "--json", seconds=180
    )
    if code != 0:
        raise StepFailed(f"exit code {code}: {errors or text}")
    told = json.loads(text)
    results = {f"{r['agent']}/{r['device']}": r["standing"] for r in told["loudspeakers"]}
    if {name for name, standing in results.items() if standing == "heard"} != LOUDSPEAKERS:
        raise StepFailed(f"loudspeakers: {results}")
    for chip in ("syn6288", "xfs5152"):
        spoken = await desk.village.emulators[chip].report(5, event="spoken")
        if "今晚有大雨" not in _spoken(desk.village.emulators[chip].reports):
            raise StepFailed(f"{chip} spoke {spoken}")
    return f"{told['counts']['heard']} of {len(LOUDSPEAKERS)} loudspeakers were heard, both chips spoke the text"


async def sound_card(desk: Desk) -> str:
    """The file that stands for the sound card holds the sound."""
    target = desk.out / "broadcast.wav"
    await asyncio.to_thread(shutil.copyfile, desk.village.broadcast_file, target)
    seconds, loud = await asyncio.to_thread(_loudness, target)
    if seconds < 2 or loud < 0.2:
        raise StepFailed(f"{seconds:.1f} s of sound, {loud:.0%} of it audible")
    return f"{seconds:.1f} s of sound, {loud:.0%} of it audible"


async def interruption(desk: Desk) -> str:
    """The receipts of both stand in the order that the classes demand, and the pause lost nothing."""
    programme = desk.out / "programme.wav"
    await asyncio.to_thread(_write_tone, programme, 8.0)
    to = ("--to", "shan/hall-speaker", "--no-chime", "--json")
    routine = await _issue(desk, "play", str(programme), "--class", "routine", "--until", "2m", "--no-wait", *to)
    await desk.event("receipt", lambda data: data["broadcast"] == routine and data["stage"] == "started")
    alert = await _issue(desk, "say", "山洪预警，请立即转移。", "--class", "alert", "--wait", *to)
    code, table, errors = await desk.village.village("broadcast", "show", routine, "--wait", seconds=60)
    await asyncio.to_thread((desk.out / "coverage.txt").write_text, table)
    if code != 0:
        raise StepFailed(f"exit code {code}: {errors or table}")
    _, text, _ = await desk.village.village("events", "--kind", "receipt", "--limit", "1000", "--json")
    told = sorted((event["time"], event["data"]["broadcast"], event["data"]) for event in json.loads(text)["events"])
    stages = [(name == alert, data["stage"]) for _, name, data in told if name in {routine, alert}]
    wanted = [(False, "paused"), (True, "started"), (True, "finished"), (False, "resumed"), (False, "finished")]
    if [stage for stage in stages if stage in wanted] != wanted:
        raise StepFailed(f"receipts: {stages}")
    at = {data["stage"]: data["position"] for _, name, data in told if name == routine and "position" in data}
    if abs(at["resumed"] - at["paused"]) > 0.05:
        raise StepFailed(f"paused at {at['paused']} s, resumed at {at['resumed']} s")
    return f"paused at {at['paused']:.2f} s, resumed at {at['resumed']:.2f} s"


async def _issue(desk: Desk, *arguments: str) -> str:
    code, text, errors = await desk.village.village("broadcast", *arguments, seconds=120)
    if code != 0:
        raise StepFailed(f"village broadcast {' '.join(arguments)}: exit code {code}: {errors or text}")
    identity: str = json.loads(text)["id"]
    return identity


def _spoken(reports: list[dict[str, Any]]) -> str:
    return "".join(str(report.get("text", "")) for report in reports if report.get("event") == "spoken")


def _write_tone(path: Path, seconds: float) -> None:
    """Write a tone that rises, so that a listener hears whether something is missing."""
    rate = 16_000
    turns = (t * (300 + 40 * t / rate) / rate for t in range(int(seconds * rate)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(math.tau * turn))) for turn in turns))


def _loudness(path: Path) -> tuple[float, float]:
    """Return the length in seconds and the share of 50 ms blocks that are louder than -40 dB of full scale."""
    with wave.open(str(path)) as sound:
        rate, frames = sound.getframerate(), sound.readframes(sound.getnframes())
        width = sound.getsampwidth() * sound.getnchannels()
    block = rate // 20 * width
    samples = [memoryview(frames[i : i + block]).cast("h") for i in range(0, len(frames) - block, block)]
    loud = [max(map(abs, part)) > 328 for part in samples]
    return len(frames) / width / rate, sum(loud) / max(1, len(loud))
