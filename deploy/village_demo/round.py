"""One round through the village: every step is done as a person would do it, by the command line, and checked at the far end."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from village_demo.desk import Desk, StepFailed
from village_demo.site import Village
from village_demo.steps import audit, calendar, devices, doors, faults, loudspeakers

STEPS: tuple[tuple[str, Callable[[Desk], Awaitable[str]]], ...] = (
    ("all devices are ok", Desk.wait_all_ok),
    ("telemetry of every device is stored", devices.telemetry),
    ("a broadcast sounds on every loudspeaker of the township", loudspeakers.broadcast),
    ("the sound card played it", loudspeakers.sound_card),
    ("an alert interrupts a routine programme, which goes on where it stopped", loudspeakers.interruption),
    ("a listed card opens the door", doors.good_card),
    ("an unknown card does not", doors.bad_card),
    ("a command opens the door", doors.unlock),
    ("who lacks the right opens nothing", doors.stranger),
    ("a command opens a lock that speaks MQTT", doors.mqtt_lock),
    ("a command switches a relay", devices.relay),
    ("the camera delivers a picture", devices.snapshot),
    ("an agent killed with -9 is seen and comes back", faults.kill_agent),
    ("an agent takes a programme into its calendar", calendar.take_programme),
    (
        "the collector killed with -9 comes back and nothing is lost; the programme played without it",
        faults.kill_collector,
    ),
    ("the publicity report counts the programme", calendar.report),
    ("what people did is in the audit log, which is whole", audit.audit_log),
)


@dataclass
class Round:
    """The steps, and what each of them found. `say` tells the person who watches."""

    village: Village
    out: Path
    say: Callable[[str], None]
    checks: list[dict[str, Any]] = field(default_factory=list)

    async def run(self) -> bool:
        """Go through all steps, also after one failed; leave the evidence in `out`; tell whether all happened."""
        started = datetime.now().astimezone()
        desk = Desk(self.village, self.out)
        for name, step in STEPS:
            await self._step(name, step(desk))
        await asyncio.to_thread(self._copy_databases)
        passed = all(check["ok"] for check in self.checks)
        summary = {
            "schema": "village.demo/1",
            "ok": passed,
            "started": started.isoformat(timespec="milliseconds"),
            "seconds": round((datetime.now().astimezone() - started).total_seconds(), 3),
            "checks": self.checks,
        }
        text = json.dumps(summary, ensure_ascii=False, indent=2)
        await asyncio.to_thread((self.out / "summary.json").write_text, f"{text}\n")
        return passed

    async def _step(self, name: str, step: Awaitable[str]) -> None:
        begun, clock = datetime.now().astimezone(), time.monotonic()
        try:
            evidence, passed = await step, True
        except (StepFailed, TimeoutError, OSError, RuntimeError) as error:
            evidence, passed = f"{error}" or "timed out", False
        seconds = round(time.monotonic() - clock, 3)
        self.checks.append(
            {
                "check": name,
                "ok": passed,
                "started": begun.isoformat(timespec="milliseconds"),
                "seconds": seconds,
                "evidence": evidence,
            }
        )
        self.say(f"{'ok  ' if passed else 'FAIL'} {name} ({seconds:.1f} s): {evidence}")

    def _copy_databases(self) -> None:
        for source in (self.village.folder / "collector").glob("*.db"):
            with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(self.out / source.name)) as copy:
                origin.backup(copy)
