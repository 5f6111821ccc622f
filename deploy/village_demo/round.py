"""One round through the village: every step is done as a person would do it, by the command line, and checked at the far end."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import sqlite3
import struct
import time
import wave
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from village_demo.site import BAD_CARD, GOOD_CARD, TOWNSHIP, Village

ANNOUNCEMENT = "各位村民请注意，今晚有大雨，请不要到河边去。Heavy rain tonight."
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
LOUDSPEAKERS = {"lin/square-speaker", "shan/hill-speaker", "shan/hall-speaker"}


class StepFailed(Exception):
    """A step did not happen; the text says what was seen instead."""


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
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("all devices are ok", self.wait_all_ok),
            ("telemetry of every device is stored", self._telemetry),
            ("a broadcast sounds on every loudspeaker of the township", self._broadcast),
            ("the sound card played it", self._broadcast_file),
            ("an alert interrupts a routine programme, which goes on where it stopped", self._interruption),
            ("a listed card opens the door", self._good_card),
            ("an unknown card does not", self._bad_card),
            ("a command opens the door", self._unlock),
            ("who lacks the right opens nothing", self._stranger),
            ("a command opens a lock that speaks MQTT", self._mqtt_lock),
            ("a command switches a relay", self._relay),
            ("the camera delivers a picture", self._snapshot),
            ("an agent killed with -9 is seen and comes back", self._kill_agent),
            ("the collector killed with -9 comes back and nothing is lost", self._kill_collector),
            ("what people did is in the audit log, which is whole", self._audit),
        ]
        for name, step in steps:
            await self._step(name, step)
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

    async def _step(self, name: str, step: Callable[[], Awaitable[str]]) -> None:
        begun, clock = datetime.now().astimezone(), time.monotonic()
        try:
            evidence, passed = await step(), True
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

    async def wait_all_ok(self) -> str:
        """Wait until every device is there and ok; raises `StepFailed`."""
        rows = await self._health_until(
            lambda rows: rows.keys() >= DEVICES.keys() and all(_is_well(row) for row in rows.values()), 60
        )
        return f"{len(rows)} rows"

    async def _telemetry(self) -> str:
        async with asyncio.timeout(90):
            for device, kind in DEVICES.items():
                while True:
                    code, text, _ = await self.village.village("device", "show", device, "--json")
                    kinds = {reading["kind"] for reading in json.loads(text)["readings"]} if code == 0 else set()
                    if kind in kinds:
                        break
                    await asyncio.sleep(0.3)
        code, text, errors = await self.village.village("history", "lin/box", "cpu_percent", "--since", "1h", "--json")
        samples = json.loads(text)["samples"] if code == 0 else []
        if not samples:
            raise StepFailed(f"no history of lin/box: {errors}")
        return f"{len(DEVICES)} devices; {len(samples)} samples of lin/box cpu_percent"

    async def _broadcast(self) -> str:
        code, text, errors = await self.village.village(
            "broadcast", "say", ANNOUNCEMENT, "--to", TOWNSHIP, "--until", "2m", "--json", seconds=180
        )
        if code != 0:
            raise StepFailed(f"exit code {code}: {errors or text}")
        told = json.loads(text)
        results = {f"{r['agent']}/{r['device']}": r["standing"] for r in told["loudspeakers"]}
        if {name for name, standing in results.items() if standing == "heard"} != LOUDSPEAKERS:
            raise StepFailed(f"loudspeakers: {results}")
        for chip in ("syn6288", "xfs5152"):
            spoken = await self.village.emulators[chip].report(5, event="spoken")
            if "今晚有大雨" not in _spoken(self.village.emulators[chip].reports):
                raise StepFailed(f"{chip} spoke {spoken}")
        return f"{told['counts']['heard']} of {len(LOUDSPEAKERS)} loudspeakers were heard, both chips spoke the text"

    async def _broadcast_file(self) -> str:
        target = self.out / "broadcast.wav"
        await asyncio.to_thread(shutil.copyfile, self.village.broadcast_file, target)
        seconds, loud = await asyncio.to_thread(_loudness, target)
        if seconds < 2 or loud < 0.2:
            raise StepFailed(f"{seconds:.1f} s of sound, {loud:.0%} of it audible")
        return f"{seconds:.1f} s of sound, {loud:.0%} of it audible"

    async def _interruption(self) -> str:
        programme = self.out / "programme.wav"
        await asyncio.to_thread(_write_tone, programme, 8.0)
        to = ("--to", "shan/hall-speaker", "--no-chime", "--json")
        routine = await self._issue("play", str(programme), "--class", "routine", "--until", "2m", "--no-wait", *to)
        await self._event("receipt", lambda data: data["broadcast"] == routine and data["stage"] == "started")
        alert = await self._issue("say", "山洪预警，请立即转移。", "--class", "alert", "--wait", *to)
        code, table, errors = await self.village.village("broadcast", "show", routine, "--wait", seconds=60)
        await asyncio.to_thread((self.out / "coverage.txt").write_text, table)
        if code != 0:
            raise StepFailed(f"exit code {code}: {errors or table}")
        _, text, _ = await self.village.village("events", "--kind", "receipt", "--limit", "1000", "--json")
        told = sorted(
            (event["time"], event["data"]["broadcast"], event["data"]) for event in json.loads(text)["events"]
        )
        stages = [(name == alert, data["stage"]) for _, name, data in told if name in {routine, alert}]
        wanted = [(False, "paused"), (True, "started"), (True, "finished"), (False, "resumed"), (False, "finished")]
        if [stage for stage in stages if stage in wanted] != wanted:
            raise StepFailed(f"receipts: {stages}")
        at = {data["stage"]: data["position"] for _, name, data in told if name == routine and "position" in data}
        if abs(at["resumed"] - at["paused"]) > 0.05:
            raise StepFailed(f"paused at {at['paused']} s, resumed at {at['resumed']} s")
        return f"paused at {at['paused']:.2f} s, resumed at {at['resumed']:.2f} s"

    async def _issue(self, *arguments: str) -> str:
        code, text, errors = await self.village.village("broadcast", *arguments, seconds=120)
        if code != 0:
            raise StepFailed(f"village broadcast {' '.join(arguments)}: exit code {code}: {errors or text}")
        identity: str = json.loads(text)["id"]
        return identity

    async def _good_card(self) -> str:
        reader = self.village.emulators["osdp_reader"]
        reader.reports.clear()
        clock = time.monotonic()
        await reader.tell(f"card 1 26 {GOOD_CARD}")
        await reader.report(5, event="output", reader=1, on=True)
        latency = time.monotonic() - clock
        event = await self._event("door_access", lambda data: data["outcome"] == "granted")
        return f"lock released {latency * 1000:.0f} ms after the card; event: {event['data']['reason']}"

    async def _bad_card(self) -> str:
        reader = self.village.emulators["osdp_reader"]
        reader.reports.clear()
        await reader.tell(f"card 1 26 {BAD_CARD}")
        event = await self._event("door_access", lambda data: data["outcome"] == "denied")
        if any(report.get("event") == "output" and report.get("on") for report in reader.reports):
            raise StepFailed("the lock was released")
        return f"denied: {event['data']['reason']}"

    async def _unlock(self) -> str:
        reader = self.village.emulators["osdp_reader"]
        reader.reports.clear()
        await self._command("door", "unlock", "lin/clinic", "--seconds", "2")
        await reader.report(5, event="output", reader=2, on=True)
        await self._event("door_unlocked", lambda data: data["by"] == "command")
        return "the reader's output was on"

    async def _mqtt_lock(self) -> str:
        lock = await self._device_with("lock")
        devices = self.village.emulators["mqtt_devices"]
        devices.reports.clear()
        await self._command("door", "unlock", lock, "--seconds", "2")
        return f"{lock}: {devices.reports[:1]}"

    async def _relay(self) -> str:
        board = self.village.emulators["modbus_board"]
        board.reports.clear()
        await self._command("command", "shan/amplifier", "switch", "on=true")
        if not board.reports:
            raise StepFailed("the board saw no coil written")
        return f"{board.reports[0]}"

    async def _snapshot(self) -> str:
        target = self.out / "snapshot.jpg"
        await self._command("camera", "snapshot", "lin/square", "-o", str(target), "--force")
        data = await asyncio.to_thread(target.read_bytes)
        if not (data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")):
            raise StepFailed("not a JPEG")
        return f"{len(data)} bytes"

    async def _kill_agent(self) -> str:
        agent = self.village.agents["lin"]
        clock = time.monotonic()
        await agent.kill()
        await self._health_until(
            lambda rows: _status(rows, "lin") == "down" and _status(rows, "lin/gate") == "unknown", 30
        )
        seen = time.monotonic() - clock
        clock = time.monotonic()
        await agent.start()
        await self.wait_all_ok()
        return f"seen after {seen:.1f} s, all ok {time.monotonic() - clock:.1f} s after its restart"

    async def _kill_collector(self) -> str:
        _, text, _ = await self.village.village("events", "--limit", "1000", "--json")
        before = {event["id"] for event in json.loads(text)["events"]}
        await self.village.collector.kill()
        code, _, _ = await self.village.village("health")
        if code != 3:
            raise StepFailed(f"village health says {code} while there is no collector")
        # A card while nobody listens: the door decides alone, and its event must come later.
        reader = self.village.emulators["osdp_reader"]
        reader.reports.clear()
        await reader.tell(f"card 1 26 {GOOD_CARD}")
        await reader.report(5, event="output", reader=1, on=True)
        clock = time.monotonic()
        await self.village.collector.start()
        await self.village.answers(self.village.collector)
        await self.wait_all_ok()
        await self._obeys("shan/amplifier")
        back = time.monotonic() - clock
        async with asyncio.timeout(30):
            while True:
                _, text, _ = await self.village.village("events", "--limit", "1000", "--json")
                events = json.loads(text)["events"]
                new = [e for e in events if e["id"] not in before and e["kind"] == "door_access"]
                if new:
                    break
                await asyncio.sleep(0.2)
        if lost := before - {event["id"] for event in events}:
            raise StepFailed(f"{len(lost)} events are gone")
        if len(new) != 1:
            raise StepFailed(f"one card, {len(new)} events")
        return f"door opened without it; all ok {back:.1f} s after its restart; {len(before)} events kept, 1 came later"

    async def _stranger(self) -> str:
        code, text, errors = await self.village.village("token", "make", "screen", "--role", "viewer", "--json")
        if code != 0:
            raise StepFailed(f"no token: {errors}")
        reader = self.village.emulators["osdp_reader"]
        reader.reports.clear()
        code, _, errors = await self.village.village(
            "--lang", "en", "door", "unlock", "lin/gate", token=json.loads(text)["secret"]
        )
        if code == 0 or any(report.get("event") == "output" and report.get("on") for report in reader.reports):
            raise StepFailed("a viewer's token opened the door")
        return errors.splitlines()[0]

    async def _audit(self) -> str:
        code, text, errors = await self.village.village("audit", "list", "--json")
        entries = json.loads(text)["entries"] if code == 0 else []
        done = {(entry["action"], entry["outcome"]) for entry in entries}
        if missing := {("door.unlock", "allowed"), ("door.unlock", "refused"), ("camera.snapshot", "allowed")} - done:
            raise StepFailed(f"the audit log lacks {missing} {errors}")
        code, text, errors = await self.village.village("audit", "verify")
        if code != 0:
            raise StepFailed(errors or text)
        return text.splitlines()[0]

    async def _command(self, *arguments: str) -> None:
        code, text, errors = await self.village.village(*arguments)
        if code != 0:
            raise StepFailed(f"village {' '.join(arguments)}: exit code {code}: {errors or text}")

    async def _obeys(self, switch: str) -> None:
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

    async def _event(self, kind: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                code, text, _ = await self.village.village("events", "--kind", kind, "--json")
                for event in json.loads(text)["events"] if code == 0 else []:
                    if wanted(event["data"]):
                        found: dict[str, Any] = event
                        return found
                await asyncio.sleep(0.2)

    async def _device_with(self, kind: str) -> str:
        code, text, errors = await self.village.village("devices", "--json")
        for device in json.loads(text)["devices"] if code == 0 else []:
            if device["kind"] == kind:
                return f"{device['agent']}/{device['device']}"
        raise StepFailed(f"no device of kind {kind} {errors}")

    async def _health_until(
        self, wanted: Callable[[dict[str, dict[str, Any]]], bool], seconds: float
    ) -> dict[str, dict[str, Any]]:
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

    def _copy_databases(self) -> None:
        for source in (self.village.folder / "collector").glob("*.db"):
            with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(self.out / source.name)) as copy:
                origin.backup(copy)


def _is_well(row: dict[str, Any]) -> bool:
    # A machine that is busy otherwise is degraded, and rightly so; nothing here can change it.
    return bool(row["status"] == "ok" or (row["device"] == "box" and row["status"] == "degraded"))


def _status(rows: dict[str, dict[str, Any]], name: str) -> str:
    return str(rows[name]["status"]) if name in rows else "absent"


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
