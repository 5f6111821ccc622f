"""`village agent list` and `show`: the boxes, where they are, whether they are connected, and until when they may."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from village_cli.documents import rows, text
from village_cli.failures import Failure, answering
from village_cli.options import JsonOption, connect, examples, settings_of
from village_cli.safety import escape_json
from village_cli.tables import Cell, Table, emit, named, say, show
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Bilingual, Language

EXAMPLES = examples("village agents", "village agents --json")
LIST_EXAMPLES = examples("village agent list", "village agent list --json")
SHOW_EXAMPLES = examples("village agent show gate-1", "village agent show gate-1 --json")

AgentArgument = Annotated[str, typer.Argument(metavar="AGENT", help="The agent. 代理。")]


@answering
def agents(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List agents: area, whether online, since when, version, number of devices, certificate.

    列出边缘代理：区域、是否在线、版本、设备数、证书。
    """
    with connect(ctx) as client:
        answer = client.get("/agents", "village.agents/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("agent", "area", "online", "since", "last_seen", "version", "devices", "certificate"),
        [
            [
                Cell(text(row, "agent"), "bold"),
                text(row, "area"),
                _online(row.get("online"), language),
                local_text(row.get("since")),
                local_text(row.get("last_seen")),
                text(row, "version"),
                text(row, "devices"),
                _certificate(row, language),
            ]
            for row in rows(answer.document, "agents")
        ],
    )
    show(table, language)


@answering
def agent_show(ctx: typer.Context, agent: AgentArgument, as_json: JsonOption = False) -> None:
    """Show one agent: connection, certificate, token that waits for a box.

    显示一个代理：连接、证书、待用令牌。
    """
    with connect(ctx) as client:
        answer = client.get("/agents", "village.agents/1")
    row = next((row for row in rows(answer.document, "agents") if text(row, "agent") == agent), None)
    if row is None:
        raise Failure(
            Bilingual(f"There is no agent {agent[:40]}.", f"没有代理 {agent[:40]}。"),
            Bilingual("`village agent list` shows those that you may see.", "请用 village agent list 查看。"),
        )
    if as_json:
        emit(escape_json(json.dumps({"schema": "village.agent/1", **row}, ensure_ascii=False)))
        return
    language = settings_of(ctx).language
    facts = {
        "agent": text(row, "agent"),
        "area": text(row, "area"),
        "online": _online(row.get("online"), language).text,
        "since": local_text(row.get("since")),
        "last_seen": local_text(row.get("last_seen")),
        "version": text(row, "version"),
        "devices": text(row, "devices"),
        "enrolled": local_text(row.get("enrolled")),
        "certificate": _certificate(row, language).text,
    }
    for key, value in facts.items():
        if value:
            say(f"{word(key, language)}: {value}")


def _certificate(row: Mapping[str, Any], language: Language) -> Cell:
    """What an agent may connect with: nothing any more, a certificate; and a token that no box has used."""
    revoked = bool(row.get("revoked"))
    members = {
        "revoked_since": row.get("revoked"),
        "certificate_until": None if revoked else row.get("certificate_expires"),
        "token_until": row.get("token_expires"),
    }
    told = (word(key, language).format(time=local_text(time)) for key, time in members.items() if time)
    return Cell(word("comma", language).join(told), "bold red" if revoked else "")


def _online(online: object, language: Language) -> Cell:
    if online is None:
        return named("unknown", language)
    return Cell(word("yes", language), "green") if online else Cell(word("no", language), "bold red")
