"""What a round asks of the village, by the command line alone, and what it waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from village_demo.site import Village

#: Everything that the two agents drive, with the kind of its readings.
DEVICES = {
    "lin/box": "host",
    "lin/square-speaker": "loudspeaker",
    "lin/gate": "reader",
    "lin/clinic": "reader",
    "lin/square": "camera",
    "shan/box": "host",
    "shan/hill-speaker": "loudspeaker",
    "shan/hall-speaker": "loudspeaker",
    "shan/amplifier": "switch",
    "shan/pump-door": "contact",
}


class StepFailed(Exception):
    """A step did not happen; the text says what was seen instead."""


@dataclass
class Desk:
    """A person at the command line, whose evidence goes to `out`."""

    village: Village
    out: Path

    async def wait_all_ok(self) -> str:
        """Wait until every device is there and ok; raises `StepFailed`."""
        rows = await self.health_until(
            lambda rows: rows.keys() >= DEVICES.keys() and all(_is_well(row) for row in rows.values()), 60
        )
        return f"{len(rows)} rows"

    async def command(self, *arguments: str) -> None:
        """Run a command that must succeed; raises `StepFailed`."""
        code, text, errors = await self.village.village(*arguments)
        if code != 0:
            raise StepFailed(f"village {' '.join(arguments)}: exit code {code}: {errors or text}")

    async def obeys(self, switch: str) -> None:
        """Wait until an agent is there again: a command reaches it."""
        async with asyncio.timeout(60):
            while True:
                try:
                    code, _, _ = await self.village.village(
                        "command", switch, "switch", "on=false", "--expires", "5s", seconds=6
                    )
                except TimeoutError:
                    continue
                if code == 0:
                    return

    async def event(self, kind: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for an event whose data are as wanted."""
        async with asyncio.timeout(20):
            while True:
                code, text, _ = await self.village.village("events", "--kind", kind, "--json")
                for event in json.loads(text)["events"] if code == 0 else []:
                    if wanted(event["data"]):
                        found: dict[str, Any] = event
                        return found
                await asyncio.sleep(0.2)

    async def device_with(self, kind: str) -> str:
        """Return the first device of a kind; raises `StepFailed`."""
        code, text, errors = await self.village.village("devices", "--json")
        for device in json.loads(text)["devices"] if code == 0 else []:
            if device["kind"] == kind:
                return f"{device['agent']}/{device['device']}"
        raise StepFailed(f"no device of kind {kind} {errors}")

    async def health_until(
        self, wanted: Callable[[dict[str, dict[str, Any]]], bool], seconds: float
    ) -> dict[str, dict[str, Any]]:
        """Wait until the rows of the health table, by device, are as wanted; raises `StepFailed`."""
        rows: dict[str, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    code, text, _ = await self.village.village("health", "--json")
                    if text:
                        rows = {
                            f"{row['agent']}/{row['device']}".rstrip("/"): row for row in json.loads(text)["devices"]
                        }
                        if wanted(rows):
                            return rows
                    await asyncio.sleep(0.2 if code in {0, 1, 2} else 0.5)
        except TimeoutError:
            bad = {name: f"{row['status']}: {row['evidence']}" for name, row in rows.items() if row["status"] != "ok"}
            missing = sorted(DEVICES.keys() - rows.keys())
            raise StepFailed(f"after {seconds:.0f} s: {bad}, missing {missing}") from None


def _is_well(row: dict[str, Any]) -> bool:
    # A machine that is busy otherwise is degraded, and rightly so; nothing here can change it.
    return bool(row["status"] == "ok" or (row["device"] == "box" and row["status"] == "degraded"))


def status_of(rows: dict[str, dict[str, Any]], name: str) -> str:
    """Return the status of a device, `absent` without a row."""
    return str(rows[name]["status"]) if name in rows else "absent"
