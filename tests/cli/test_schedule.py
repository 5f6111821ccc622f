"""Programmes and the report of publicity from the command line, against the collector's own API."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import icalendar

from tests.cli.test_real_api import Site, control, site
from tests.collector.broadcasts.sounds import tone
from tests.collector.kit import VILLAGE, event
from village_wire.events import Receipt

__all__ = ("control", "site")
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:morning
SUMMARY:早间防诈
DTSTART;TZID=Asia/Shanghai:20261125T063000
DURATION:PT20M
RRULE:FREQ=DAILY
CATEGORIES:反诈
DESCRIPTION:谨防电信诈骗。
X-VILLAGE-VOLUME:40
END:VEVENT
BEGIN:VEVENT
UID:anthem
SUMMARY:Anthem
DTSTART;TZID=Asia/Shanghai:20261126T180000
ATTACH:anthem.wav
END:VEVENT
END:VCALENDAR
"""


async def test_a_calendar_comes_in_is_listed_goes_out_and_away(site: Site, tmp_path: Path) -> None:
    site.collector.now = datetime(2026, 11, 24, 8, tzinfo=UTC)
    file, out = tmp_path / "autumn.ics", tmp_path / "out.ics"
    await asyncio.to_thread(file.write_text, CALENDAR)
    await asyncio.to_thread(tone, tmp_path / "anthem.wav")
    ended = await site.run("schedule", "import", str(file), "--to", VILLAGE)
    assert (ended.code, ended.stdout, ended.stderr) == (0, "2 programmes imported; the target has 2.\n", "")
    lines = (await site.run("schedule", "list", "--area", VILLAGE)).stdout.splitlines()
    assert [line.split()[3:5] for line in lines[1:]] == [[VILLAGE, "morning"], [VILLAGE, "anthem"]]
    assert "anti-fraud" in lines[1]
    assert (await site.run("schedule", "export", "--to", VILLAGE, "-o", str(out))).code == 0
    again = await site.run("schedule", "export", "--to", VILLAGE, "-o", str(out))
    assert (again.code, "exists. Choose another name, or overwrite it with --force." in again.stderr) == (1, True)
    events = icalendar.Calendar.from_ical(await asyncio.to_thread(out.read_text)).walk("VEVENT")
    assert [str(one["UID"]) for one in events] == ["morning", "anthem"]
    assert str(events[1]["ATTACH"]).startswith("urn:sha256:")
    again = await site.run("schedule", "import", str(out), "--to", "gate-1/speaker", "--json")
    first = json.loads((await site.run("schedule", "list", "--json")).stdout)["schedules"]
    assert json.loads(again.stdout)["programmes"] == first[0]["programmes"] == first[1]["programmes"]
    ended = await site.run("schedule", "remove", "morning", "--to", VILLAGE)
    assert ended.stdout == "1 programmes removed; the target has 1 left.\n"
    gone = await site.run("schedule", "remove", "morning", "--to", VILLAGE)
    assert (gone.code, "no programme morning" in gone.stderr) == (1, True)


async def test_tracks_of_the_card_come_in_and_go_out_again(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "tracks.ics"
    attached = "ATTACH:village-track:3\nATTACH:village-track:2/15"
    await asyncio.to_thread(file.write_text, CALENDAR.replace("ATTACH:anthem.wav", attached))
    ended = await site.run("schedule", "import", str(file), "--to", VILLAGE, "--json")
    (anthem,) = [one for one in json.loads(ended.stdout)["programmes"] if one["id"] == "anthem"]
    assert anthem["items"] == [{"track": {"folder": 0, "number": 3}}, {"track": {"folder": 2, "number": 15}}]
    exported = (await site.run("schedule", "export", "--to", VILLAGE)).stdout.splitlines()
    assert [line for line in exported if line.startswith("ATTACH")] == attached.split("\n")
    await asyncio.to_thread(file.write_text, CALENDAR.replace("ATTACH:anthem.wav", "ATTACH:village-track:x"))
    bad = await site.run("schedule", "import", str(file), "--to", VILLAGE)
    assert (bad.code, "x is no track." in bad.stderr) == (2, True)


async def test_what_can_not_be_imported_is_named(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "autumn.ics"
    await asyncio.to_thread(file.write_text, CALENDAR.replace("FREQ=DAILY", "FREQ=HOURLY"))
    bad = await site.run("schedule", "import", str(file), "--to", VILLAGE)
    assert (bad.code, "line 6: FREQ" in bad.stderr, "FREQ is one of" in bad.stderr) == (2, True, True)
    await asyncio.to_thread(file.write_text, CALENDAR)
    missing = await site.run("schedule", "import", str(file), "--to", VILLAGE)
    assert (missing.code, "anthem.wav can't be read" in missing.stderr) == (2, True)
    assert json.loads((await site.run("schedule", "list", "--json")).stdout)["schedules"] == []
    absent = await site.run("schedule", "export", "--to", VILLAGE)
    assert (absent.code, "has no programmes" in absent.stderr) == (1, True)


async def test_programmes_that_nobody_will_hear_are_imported_and_told(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "autumn.ics"
    calendar = CALENDAR.replace("20261126T180000", "20201126T180000").replace("ATTACH:anthem.wav", "DESCRIPTION:Ended.")
    await asyncio.to_thread(file.write_text, calendar)
    ended = await site.run("schedule", "import", str(file), "--to", f"{VILLAGE}/tag:nobody")
    assert (ended.code, ended.stdout) == (0, "2 programmes imported; the target has 2.\n")
    over, nobody = ended.stderr.splitlines()
    assert over == "Not due within a year: anthem. Correct DTSTART or RRULE."
    assert nobody.startswith(f"There is no loudspeaker of {VILLAGE}/tag:nobody at present")
    ended = await site.run("schedule", "import", str(file), "--to", "gate-1/speeker")
    assert (ended.code, "unknown device gate-1/speeker" in ended.stderr) == (1, True)


async def test_programmes_for_tags_alone_are_refused_before_their_sounds_are_sent(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "autumn.ics"
    await asyncio.to_thread(file.write_text, CALENDAR)
    # Without anthem.wav the file itself would be told to be wrong.
    for command in (("import", str(file)), ("remove", "morning")):
        ended = await site.run("schedule", *command, "--to", "tag:school")
        assert (ended.code, ended.stdout) == (2, "")
        assert "belong to a place, not to tag:school alone. Write the area before it" in ended.stderr


async def test_the_report(site: Site) -> None:
    for category, seconds in (("law", 600), ("fire", 90)):
        heard = Receipt.model_validate(
            {"broadcast": uuid4(), "stage": "finished", "heard": seconds, "category": category}
        )
        await site.collector.deliver("gate-1", event(heard, "speaker"))
    ended = await site.run("report", "publicity", "--month", "2026-11", "--csv")
    assert list(csv.reader(ended.stdout.splitlines())) == [
        ["month", "area", "loudspeakers", "heard", "category", "minutes", "loudspeaker_minutes", "plays"],
        ["2026-11", VILLAGE, "2", "1", "fire", "0.75", "1.5", "1"],
        ["2026-11", VILLAGE, "2", "1", "law", "5.0", "10.0", "1"],
    ]
    table = (await site.run("report", "publicity", "--month", "2026-11")).stdout.splitlines()
    assert table[1].split() == [VILLAGE, "1/2", "fire", "safety", "0.75", "1.5", "1"]
    bad = await site.run("report", "publicity", "--month", "November")
    assert (bad.code, "no month" in bad.stderr) == (2, True)
