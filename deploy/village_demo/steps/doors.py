"""Cards and commands at doors."""

from __future__ import annotations

import json
import time

from village_demo.desk import Desk, StepFailed
from village_demo.site import BAD_CARD, GOOD_CARD


async def good_card(desk: Desk) -> str:
    """The lock is released, and the event says why."""
    reader = desk.village.emulators["osdp_reader"]
    reader.reports.clear()
    clock = time.monotonic()
    await reader.tell(f"card 1 26 {GOOD_CARD}")
    await reader.report(5, event="output", reader=1, on=True)
    latency = time.monotonic() - clock
    event = await desk.event("door_access", lambda data: data["outcome"] == "granted")
    return f"lock released {latency * 1000:.0f} ms after the card; event: {event['data']['reason']}"


async def bad_card(desk: Desk) -> str:
    """The lock stays shut, and the event says why."""
    reader = desk.village.emulators["osdp_reader"]
    reader.reports.clear()
    await reader.tell(f"card 1 26 {BAD_CARD}")
    event = await desk.event("door_access", lambda data: data["outcome"] == "denied")
    if any(report.get("event") == "output" and report.get("on") for report in reader.reports):
        raise StepFailed("the lock was released")
    return f"denied: {event['data']['reason']}"


async def unlock(desk: Desk) -> str:
    """The reader's output goes on."""
    reader = desk.village.emulators["osdp_reader"]
    reader.reports.clear()
    await desk.command("door", "unlock", "lin/clinic", "--seconds", "2")
    await reader.report(5, event="output", reader=2, on=True)
    await desk.event("door_unlocked", lambda data: data["by"] == "command")
    return "the reader's output was on"


async def mqtt_lock(desk: Desk) -> str:
    """The lock on the site's broker is told."""
    lock = await desk.device_with("lock")
    devices = desk.village.emulators["mqtt_devices"]
    devices.reports.clear()
    await desk.command("door", "unlock", lock, "--seconds", "2")
    return f"{lock}: {devices.reports[:1]}"


async def stranger(desk: Desk) -> str:
    """A viewer's token is refused."""
    code, text, errors = await desk.village.village("token", "make", "screen", "--role", "viewer", "--json")
    if code != 0:
        raise StepFailed(f"no token: {errors}")
    reader = desk.village.emulators["osdp_reader"]
    reader.reports.clear()
    code, _, errors = await desk.village.village(
        "--lang", "en", "door", "unlock", "lin/gate", token=json.loads(text)["secret"]
    )
    if code == 0 or any(report.get("event") == "output" and report.get("on") for report in reader.reports):
        raise StepFailed("a viewer's token opened the door")
    return errors.splitlines()[0]
