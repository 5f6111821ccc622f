"""What is killed, and what comes back."""

from __future__ import annotations

import asyncio
import json
import time

from village_demo.desk import Desk, StepFailed, status_of
from village_demo.site import GOOD_CARD
from village_demo.steps.calendar import spoken, spoken_without_collector


async def kill_agent(desk: Desk) -> str:
    """The table tells it, and then that all is well again."""
    agent = desk.village.agents["lin"]
    clock = time.monotonic()
    await agent.kill()
    await desk.health_until(
        lambda rows: status_of(rows, "lin") == "down" and status_of(rows, "lin/gate") == "unknown", 30
    )
    seen = time.monotonic() - clock
    clock = time.monotonic()
    await agent.start()
    await desk.wait_all_ok()
    return f"seen after {seen:.1f} s, all ok {time.monotonic() - clock:.1f} s after its restart"


async def kill_collector(desk: Desk) -> str:
    """A card opens the door and a programme is spoken without it; the card's event comes later, and nothing stored is lost."""
    _, text, _ = await desk.village.village("events", "--limit", "1000", "--json")
    before = {event["id"] for event in json.loads(text)["events"]}
    await desk.village.collector.kill()
    if spoken(desk):
        raise StepFailed(
            "the programme was over before the collector was killed: this machine is too slow for the demo"
        )
    code, _, _ = await desk.village.village("health")
    if code != 3:
        raise StepFailed(f"village health says {code} while there is no collector")
    # A card while nobody listens: the door decides alone, and its event must come later.
    reader = desk.village.emulators["osdp_reader"]
    reader.reports.clear()
    await reader.tell(f"card 1 26 {GOOD_CARD}")
    await reader.report(5, event="output", reader=1, on=True)
    await spoken_without_collector(desk)
    clock = time.monotonic()
    await desk.village.collector.start()
    await desk.village.answers(desk.village.collector)
    await desk.wait_all_ok()
    await desk.obeys("shan/amplifier")
    back = time.monotonic() - clock
    async with asyncio.timeout(30):
        while True:
            _, text, _ = await desk.village.village("events", "--limit", "1000", "--json")
            events = json.loads(text)["events"]
            new = [e for e in events if e["id"] not in before and e["kind"] == "door_access"]
            if new:
                break
            await asyncio.sleep(0.2)
    if lost := before - {event["id"] for event in events}:
        raise StepFailed(f"{len(lost)} events are gone")
    if len(new) != 1:
        raise StepFailed(f"one card, {len(new)} events")
    return f"door and programme did without it; all ok {back:.1f} s after its restart; {len(before)} events kept, 1 came later"
