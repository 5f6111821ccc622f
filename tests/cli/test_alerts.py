"""`village broadcast cap` and `alerts` against the collector's own API."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from tests.cli.test_real_api import Site, control, site  # noqa: F401 - fixtures
from tests.collector.cap.kit import Sender, rainstorm
from tests.collector.kit import T0, VILLAGE, at, event
from village_collector.cap.alert import Alert, Pair, Place
from village_wire.broadcasts import Stage
from village_wire.events import Event, Receipt

PLACES = (Place("示例村", (Pair("行政区划代码", VILLAGE),)), Place("河边", polygons=("1,1 2,2 3,3 1,1",)))


def alert(**more: object) -> Alert:
    return rainstorm({"places": PLACES, "expires": T0 + timedelta(hours=3)}, sent=at(60), **more)


def signed(site: Site, folder: Path, content: Alert) -> str:  # noqa: F811
    path = folder / "alert.xml"
    path.write_bytes(site.collector.signer.sign(content))
    return str(path)


def receipt(broadcast: UUID, stage: Stage) -> Event:
    return event(
        Receipt(broadcast=broadcast, stage=stage, reason="noise" if stage == "failed" else ""), "speaker", time=at(61)
    )


async def test_an_alert_that_half_of_the_loudspeakers_said(site: Site, tmp_path: Path) -> None:  # noqa: F811
    running = asyncio.create_task(site.run("broadcast", "cap", signed(site, tmp_path, alert())))
    broadcast = UUID(await site.command())
    await site.collector.deliver("gate-1", receipt(broadcast, "started"), receipt(broadcast, "finished"))
    await site.collector.deliver("gate-2", receipt(broadcast, "failed"))
    ended = await running
    assert (ended.code, ended.stderr) == (1, "")
    lines = ended.stdout.splitlines()
    assert lines[0] == "rain-1 of qixiang@warning.example.cn, signed by CN=warning.example.cn (feed province)."
    assert "emergency" in lines[2]
    assert "暴雨橙色预警。请立即转移。" in lines[2]
    assert "only a polygon or circle, no geocode" in ended.stdout
    assert lines[-1] == "1 of 2 loudspeakers sounded (50 %); not heard: 1"

    again = await site.run("broadcast", "cap", signed(site, tmp_path, alert()), "--coverage", "50", "--json")
    assert again.code == 0
    document = json.loads(again.stdout)
    assert (document["schema"], document["broadcasts"][0]["counts"]["heard"]) == ("village.alert/1", 1)
    listed = await site.run("broadcast", "alerts")
    assert listed.code == 0
    assert "1/2" in listed.stdout.splitlines()[1]
    assert "aired" in listed.stdout.splitlines()[1]
    shown = await site.run("--lang", "zh", "broadcast", "alerts", document["id"])
    assert "未播出" in shown.stdout
    assert any(line.split()[:3] == [VILLAGE, "2", "1"] for line in shown.stdout.splitlines())
    assert len(site.collector.outbox.sent) == 1


async def test_a_dry_run(site: Site, tmp_path: Path) -> None:  # noqa: F811
    ended = await site.run("broadcast", "cap", signed(site, tmp_path, alert()), "--dry-run")
    assert ended.code == 0
    assert "Nothing was aired: this is what would be." in ended.stdout
    assert "暴雨橙色预警。请立即转移。" in ended.stdout
    assert site.collector.outbox.sent == []


async def test_what_is_not_for_loudspeakers(site: Site, tmp_path: Path) -> None:  # noqa: F811
    exercise = await site.run("broadcast", "cap", signed(site, tmp_path, alert(identifier="e", status="Exercise")))
    assert exercise.code == 2
    assert "status Exercise: only Actual is aired" in exercise.stdout
    heartbeat = await site.run("broadcast", "cap", signed(site, tmp_path, alert(identifier="h", status="System")))
    assert (heartbeat.code, heartbeat.stdout.splitlines()[-1]) == (0, "A heartbeat: the feed lives.")
    assert site.collector.outbox.sent == []


async def test_refusals(site: Site, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "foreign.xml"
    path.write_bytes(Sender(begin=T0).sign(alert()))
    ended = await site.run("broadcast", "cap", str(path))
    assert (ended.code, ended.stdout) == (2, "")
    assert "not signed with a trusted certificate" in ended.stderr
    assert "[[cap.feeds]]" in ended.stderr
    missing = await site.run("broadcast", "cap", str(tmp_path / "none.xml"))
    assert missing.code == 2
    assert "No such file" in missing.stderr
