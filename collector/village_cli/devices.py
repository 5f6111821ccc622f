"""`village devices` and `village device show`: what there is, and all that is known of one device."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from village_cli.documents import label, part, plain, rows, text
from village_cli.events import event_table
from village_cli.failures import answering
from village_cli.health import buffer, since
from village_cli.options import (
    AgentOption,
    AnyDeviceArgument,
    AreaOption,
    JsonOption,
    TagOption,
    connect,
    examples,
    settings_of,
)
from village_cli.reasons import told
from village_cli.tables import Cell, Table, emit, named, say, show
from village_cli.target import parse_any_device
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Language

EXAMPLES = examples(
    "village devices",
    "village devices --area 441900003000 --tag school",
    "village devices --agent gate-1 --json",
)
SHOW_EXAMPLES = examples(
    "village device show gate-1/reader", "village device show gate-1", "village device show gate-1/reader --json"
)


@answering
def devices(
    ctx: typer.Context,
    area: AreaOption = None,
    agent: AgentOption = None,
    tag: TagOption = None,
    as_json: JsonOption = False,
) -> None:
    """List devices: kind, driver, area, status, abilities, tags.

    列出设备：类型、驱动、区域、状态、能力、标签。
    """
    with connect(ctx) as client:
        answer = client.get("/devices", "village.devices/1", area=area, agent=agent, tag=tag)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("device", "name", "kind", "driver", "area", "status", "abilities", "tags", "firmware", "last_seen"),
        [
            [
                Cell(label(row), "bold"),
                text(row, "name"),
                text(row, "kind"),
                text(row, "driver"),
                text(row, "area"),
                named(text(row, "status"), language),
                text(row, "abilities"),
                text(row, "tags"),
                text(row, "firmware"),
                local_text(row.get("last_seen")),
            ]
            for row in rows(answer.document, "devices")
        ],
    )
    show(table, language)


@answering
def device_show(ctx: typer.Context, device: AnyDeviceArgument, as_json: JsonOption = False) -> None:
    """Show one device, or an agent itself: entry, latest readings, last events; of an agent its buffer and what it lost, too.

    显示一台设备或代理自身：信息、最新读数、最近事件；代理还显示缓冲和丢失记录。
    """
    target = parse_any_device(device)
    with connect(ctx) as client:
        answer = client.get(f"/devices/{target.agent}/{target.device}", "village.device/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    entry = part(answer.document, "device")
    _show_entry(entry, language)
    if rows(entry, "lost"):
        say()
        say(word("lost_data", language))
        show(losses_table(entry, language), language)
    say()
    say(word("readings", language))
    if text(answer.document, "readings_problem"):
        say(told(text(answer.document, "readings_problem"), language))
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


def losses_table(entry: Mapping[str, Any], language: Language) -> Table:
    """Return an agent's loss ledger, as in its row of health."""
    return Table(
        ("class", "reason", "lost_count", "lost_first", "lost_last", "received"),
        [
            [
                word(f"class_{text(row, 'item_class')}", language),
                told(text(row, "reason"), language),
                Cell(text(row, "count"), "bold"),
                local_text(row.get("first")),
                local_text(row.get("last")),
                local_text(row.get("received")),
            ]
            for row in rows(entry, "lost")
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
        "tags": text(row, "tags"),
        "status": word(text(row, "status"), language),
        "since": since(row, datetime.now(UTC), language),
        "evidence": told(text(row, "evidence"), language),
        "advice": text(part(row, "advice"), language),
        "buffer": buffer(row, language),
        "last_seen": local_text(row.get("last_seen")),
    }
    for key, value in facts.items():
        if value:
            say(f"{word(key, language)}: {value}")
