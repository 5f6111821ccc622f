"""`village devices` and `village device show`: what there is, and all that is known of one device."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from village_cli.documents import label, part, plain, rows, text
from village_cli.events import event_table
from village_cli.failures import answering
from village_cli.health import since
from village_cli.options import AgentOption, AreaOption, DeviceArgument, JsonOption, connect, examples, settings_of
from village_cli.tables import Cell, Table, emit, named, say, show
from village_cli.target import parse_device
from village_cli.text import Language, word
from village_cli.times import local_text

EXAMPLES = examples("village devices", "village devices --area 441900003000", "village devices --agent gate-1 --json")
SHOW_EXAMPLES = examples("village device show gate-1/reader", "village device show gate-1/reader --json")


@answering
def devices(
    ctx: typer.Context, area: AreaOption = None, agent: AgentOption = None, as_json: JsonOption = False
) -> None:
    """List devices: kind, driver, area, status, abilities.

    列出设备：类型、驱动、区域、状态、能力。
    """
    with connect(ctx) as client:
        answer = client.get("/devices", "village.devices/1", area=area, agent=agent)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("device", "name", "kind", "driver", "area", "status", "abilities", "firmware", "last_seen"),
        [
            [
                Cell(label(row), "bold"),
                text(row, "name"),
                text(row, "kind"),
                text(row, "driver"),
                text(row, "area"),
                named(text(row, "status"), language),
                text(row, "abilities"),
                text(row, "firmware"),
                local_text(row.get("last_seen")),
            ]
            for row in rows(answer.document, "devices")
        ],
    )
    show(table, language)


@answering
def device_show(ctx: typer.Context, device: DeviceArgument, as_json: JsonOption = False) -> None:
    """Show one device: entry, latest readings, last events.

    显示一台设备：信息、最新读数、最近事件。
    """
    target = parse_device(device)
    with connect(ctx) as client:
        answer = client.get(f"/devices/{target.agent}/{target.device}", "village.device/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    _show_entry(part(answer.document, "device"), language)
    say()
    say(word("readings", language))
    if text(answer.document, "readings_problem"):
        say(text(answer.document, "readings_problem"))
    else:
        show(readings_table(answer.document), language)
    say()
    say(word("last_events", language))
    show(event_table(rows(answer.document, "events"), language), language)


def readings_table(document: Mapping[str, Any]) -> Table:
    """Return the latest reading of every field of a `village.device/1`."""
    return Table(
        ("kind", "field", "value", "time"),
        [
            [text(row, "kind"), Cell(text(row, "field"), "bold"), plain(row.get("value")), local_text(row.get("time"))]
            for row in rows(document, "readings")
        ],
    )


def _show_entry(row: Mapping[str, Any], language: Language) -> None:
    facts = {
        "device": label(row),
        "name": text(row, "name"),
        "area": text(row, "area"),
        "kind": text(row, "kind"),
        "driver": text(row, "driver"),
        "firmware": text(row, "firmware"),
        "abilities": text(row, "abilities"),
        "status": word(text(row, "status"), language),
        "since": since(row, datetime.now(UTC), language),
        "evidence": text(row, "evidence"),
        "advice": text(part(row, "advice"), language),
        "last_seen": local_text(row.get("last_seen")),
    }
    for key, value in facts.items():
        if value:
            say(f"{word(key, language)}: {value}")
