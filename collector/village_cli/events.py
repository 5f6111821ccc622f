"""`village events`: what happened, and with `--follow` what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.documents import label, part, plain, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AgentOption, AreaOption, JsonOption, connect, examples, settings_of
from village_cli.reasons import told
from village_cli.tables import STYLES, Cell, Table, emit, named, note, say, show
from village_cli.text import word
from village_cli.times import local_text, parse_time, rfc3339
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Client

SCHEMA = "village.events/1"
FOLLOW_SECONDS = 1.0
#: Members of an event's data that only programs need.
HIDDEN = frozenset({"kind", "session", "since"})
#: Members whose value speaks for itself.
PLAIN = frozenset({"code", "evidence", "reason", "action", "stage", "credential"})

EXAMPLES = examples(
    "village events",
    "village events --agent gate-1 --kind door_access --since 7d",
    "village events --follow",
    "village events --since 2026-11-24T08:00 --until 2026-11-24T12:00 --json",
)


@answering
def events(
    ctx: typer.Context,
    area: AreaOption = None,
    agent: AgentOption = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="DEVICE", help="Only devices of this id. 仅此编号的设备。")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind, as door_access, alarm. 仅此类型，如 door_access。")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="24h|7d|ISO", help="Not before. 起始时间。")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="24h|7d|ISO", help="Before. 截止时间。")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many. 最多条数。")] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C. 持续等待新事件。")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List events, the newest last.

    列出事件，最新的在最后。

    With --follow and --json: one document per line. 与 --json 合用时每行一个文档。
    """
    if kind is not None:
        _check_kind(kind)
    now = datetime.now(UTC)
    query: dict[str, str | int | None] = {
        "area": area,
        "agent": agent,
        "device": device,
        "kind": kind,
        "since": rfc3339(parse_time(since, now)) if since else None,
        "until": rfc3339(parse_time(until, now)) if until else None,
        "limit": limit,
    }
    language = settings_of(ctx).language
    with connect(ctx) as client:
        answer = client.get("/events", SCHEMA, **query)
        found = rows(answer.document, "events")
        if as_json:
            emit(answer.text)
        elif found or not follow:
            show(event_table(found[::-1], language), language)
        if follow:
            sys.stdout.flush()
            _follow(client, query, answer.document, language, as_json=as_json)


def _check_kind(kind: str) -> None:
    from village_wire.events import EVENT_KINDS

    if kind not in EVENT_KINDS:
        raise Failure(
            Bilingual(f"{kind[:40]!r} is no kind of event.", f"没有 {kind[:40]!r} 这种事件类型。"),
            Bilingual(f"Choose one of {', '.join(EVENT_KINDS)}.", f"可选：{'、'.join(EVENT_KINDS)}。"),
            exit_code=USAGE,
        )


def event_table(found: Sequence[Mapping[str, Any]], language: Language) -> Table:
    """Return one row per event, in the order given."""
    return Table(("time", "device", "event", "details"), [_row(event, language) for event in found])


def describe(event: Mapping[str, Any], language: Language) -> str:
    """Return an event's data as one line; empty members are left out, known words are in the user's language."""
    words = []
    for key, value in part(event, "data").items():
        shown = plain(value)
        if key in HIDDEN or not shown:
            continue
        if key == "active":
            words.append(word("began" if value else "ended", language))
        elif key in {"status", "outcome"}:
            words.append(word(shown, language))
        elif key == "stage" and language == "zh":
            words.append(word(f"stage_{shown}", language))
        else:
            words.append(told(shown, language) if key in PLAIN else f"{key}={shown}")
    return " ".join(words)


def _row(event: Mapping[str, Any], language: Language) -> list[Cell | str]:
    data = part(event, "data")
    telling = text(data, "status") or text(data, "outcome") or text(event, "kind")
    return [
        local_text(event.get("time")),
        Cell(label(event), "bold"),
        named(text(event, "kind"), language),
        Cell(describe(event, language), STYLES.get(telling, "")),
    ]


def _follow(
    client: Client,
    query: Mapping[str, str | int | None],
    first: Mapping[str, Any],
    language: Language,
    *,
    as_json: bool,
) -> None:
    from village_cli.client import Unreachable

    cursor = text(first, "cursor")
    away = False
    while True:
        time.sleep(FOLLOW_SECONDS)
        try:
            answer = client.get("/events", SCHEMA, **query, after=cursor or None)
        except Unreachable as failure:
            if not away:
                note(word("lost", language).format(reason=failure.sentence(language)))
            away = True
            continue
        if away:
            note(word("back", language))
            away = False
        found = rows(answer.document, "events")
        if found and as_json:
            emit(answer.text)
        elif found:
            # The very first events of a collector come as a list, newest first; what follows a cursor is in order.
            _print_lines(found if cursor else found[::-1], language)
        cursor = text(answer.document, "cursor") or cursor


def _print_lines(fresh: Sequence[Mapping[str, Any]], language: Language) -> None:
    for event in fresh:
        stamp, device, kind, details = (cell.text if isinstance(cell, Cell) else cell for cell in _row(event, language))
        say(f"{stamp}  {device}  {kind}  {details}")
    sys.stdout.flush()
