"""`village dead-letters`: what agents sent and the collector could not take."""

from __future__ import annotations

from typing import Annotated

import typer

from village_cli.documents import rows, text
from village_cli.failures import answering
from village_cli.options import JsonOption, connect, examples, settings_of
from village_cli.reasons import told
from village_cli.tables import Cell, Table, emit, show
from village_cli.times import local_text

#: Enough to recognise a message by; the whole is in the JSON.
SHOWN_CHARACTERS = 80

EXAMPLES = examples("village dead-letters", "village dead-letters --limit 10 --json")


@answering
def dead_letters(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many. 最多条数。")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List messages that the collector refused, and why.

    列出采集端拒收的消息及原因。
    """
    with connect(ctx) as client:
        answer = client.get("/dead-letters", "village.dead-letters/1", limit=limit)
    if as_json:
        emit(answer.text)
        return
    language = settings_of(ctx).language
    table = Table(
        ("received", "agent", "topic", "reason", "content"),
        [
            [
                local_text(row.get("received")),
                Cell(text(row, "agent"), "bold"),
                text(row, "topic"),
                told(text(row, "reason"), language),
                text(row, "content")[:SHOWN_CHARACTERS],
            ]
            for row in rows(answer.document, "letters")
        ],
    )
    show(table, language)
