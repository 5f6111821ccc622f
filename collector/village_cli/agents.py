"""`village agents`: the boxes, where they are and whether they are connected."""

from __future__ import annotations

import typer

from village_cli.documents import rows, text
from village_cli.failures import answering
from village_cli.options import JsonOption, connect, examples, settings_of
from village_cli.tables import Cell, Table, emit, named, show
from village_cli.text import Language, word
from village_cli.times import local_text

EXAMPLES = examples("village agents", "village agents --json")
LIST_EXAMPLES = examples("village agent list", "village agent list --json")


@answering
def agents(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List agents: area, whether online, since when, version, number of devices.

    列出边缘代理。
    """
    with connect(ctx) as client:
        answer = client.get("/agents", "village.agents/1")
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("agent", "area", "online", "since", "last_seen", "version", "devices"),
        [
            [
                Cell(text(row, "agent"), "bold"),
                text(row, "area"),
                _online(row.get("online"), language),
                local_text(row.get("since")),
                local_text(row.get("last_seen")),
                text(row, "version"),
                text(row, "devices"),
            ]
            for row in rows(answer.document, "agents")
        ],
    )
    show(table, language)


def _online(online: object, language: Language) -> Cell:
    if online is None:
        return named("unknown", language)
    return Cell(word("yes", language), "green") if online else Cell(word("no", language), "bold red")
