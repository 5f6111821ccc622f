"""Readings, relays and pictures."""

from __future__ import annotations

import asyncio
import json

from village_demo.desk import DEVICES, Desk, StepFailed


async def telemetry(desk: Desk) -> str:
    """Every device has a reading in the store."""
    async with asyncio.timeout(90):
        for device, kind in DEVICES.items():
            while True:
                code, text, _ = await desk.village.village("device", "show", device, "--json")
                kinds = {reading["kind"] for reading in json.loads(text)["readings"]} if code == 0 else set()
                if kind in kinds:
                    break
                await asyncio.sleep(0.3)
    code, text, errors = await desk.village.village("history", "lin/box", "cpu_percent", "--since", "1h", "--json")
    samples = json.loads(text)["samples"] if code == 0 else []
    if not samples:
        raise StepFailed(f"no history of lin/box: {errors}")
    return f"{len(DEVICES)} devices; {len(samples)} samples of lin/box cpu_percent"


async def relay(desk: Desk) -> str:
    """The board sees its coil written."""
    board = desk.village.emulators["modbus_board"]
    board.reports.clear()
    await desk.command("command", "shan/amplifier", "switch", "on=true")
    if not board.reports:
        raise StepFailed("the board saw no coil written")
    return f"{board.reports[0]}"


async def snapshot(desk: Desk) -> str:
    """A JPEG arrives."""
    target = desk.out / "snapshot.jpg"
    await desk.command("camera", "snapshot", "lin/square", "-o", str(target), "--force")
    data = await asyncio.to_thread(target.read_bytes)
    if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
        raise StepFailed("not a JPEG")
    return f"{len(data)} bytes"
