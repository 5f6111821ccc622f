"""A programme of the calendar, which an agent plays by itself, and the report that counts it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

from village_demo.desk import Desk, StepFailed

PROGRAMME = "谨防电信诈骗，不轻信，不转账。"
#: Long enough for the collector to be killed before the programme is due.
_AHEAD = timedelta(seconds=9)
#: Months are of China's time.
_CHINA = timezone(timedelta(hours=8))
_CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:evening
SUMMARY:防诈提醒
DTSTART:{start:%Y%m%dT%H%M%SZ}
RRULE:FREQ=DAILY
CATEGORIES:反诈
DESCRIPTION:{text}
END:VEVENT
END:VCALENDAR
"""


async def take_programme(desk: Desk) -> str:
    """A calendar file is imported; the agent has it on disk before its time."""
    file = desk.out / "programmes.ics"
    start = datetime.now(UTC).replace(microsecond=0) + _AHEAD
    await asyncio.to_thread(file.write_text, _CALENDAR.format(start=start, text=PROGRAMME))
    desk.village.emulators["syn6288"].reports.clear()
    await desk.command("schedule", "import", str(file), "--to", "lin/square-speaker")
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(_held, desk):
            await asyncio.sleep(0.1)
    return f"on the agent's disk, due {start.astimezone():%H:%M:%S}, daily"


async def spoken_without_collector(desk: Desk) -> None:
    """Wait, while there is no collector, until the chip has spoken the programme; raises `TimeoutError`."""
    await desk.village.emulators["syn6288"].report(_AHEAD.total_seconds() + 15, event="spoken", text=PROGRAMME)


def spoken(desk: Desk) -> bool:
    """Tell whether the chip has spoken the programme."""
    return any(one.get("text") == PROGRAMME for one in desk.village.emulators["syn6288"].reports)


async def report(desk: Desk) -> str:
    """The receipt counts in the month's report; its table and its PDF are left as evidence."""
    heard = await desk.event(
        "receipt", lambda data: data.get("category") == "anti_fraud" and data["stage"] == "finished"
    )
    month = f"{datetime.fromisoformat(heard['time']).astimezone(_CHINA):%Y-%m}"
    words = ("report", "publicity", "--month", month)
    code, text, errors = await desk.village.village(*words, "--json")
    areas = json.loads(text)["areas"] if code == 0 else []
    found = [one for area in areas for one in area["categories"] if one["category"] == "anti_fraud"]
    if [one["plays"] for one in found] != [1]:
        raise StepFailed(f"the report says {found} {errors}")
    code, table, errors = await desk.village.village(*words)
    if code != 0:
        raise StepFailed(errors)
    await asyncio.to_thread((desk.out / "publicity.txt").write_text, table)
    await desk.command("--lang", "en", *words, "--pdf", str(desk.out / "publicity.pdf"), "--force")
    return f"{heard['data']['heard']} s of one programme are {found[0]['minutes']} min in {month}; heard of later, from its receipt"


def _held(desk: Desk) -> bool:
    with closing(sqlite3.connect(desk.village.folder / "lin" / "schedules.db")) as database:
        return bool(database.execute("SELECT count(*) FROM document").fetchone()[0])
