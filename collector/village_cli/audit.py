"""`village audit`: who did what, and whether the log of it is whole."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from village_cli.documents import part, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AreaOption, JsonOption, connect, examples, settings_of
from village_cli.reasons import told
from village_cli.tables import Cell, Table, emit, named, show
from village_cli.text import word
from village_cli.times import local_text, parse_time, rfc3339
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

SCHEMA = "village.audit/1"
#: What one request of the API gives at the most.
_PAGE = 1000
#: The columns of the CSV, in the words of the API.
_COLUMNS = ("number", "time", "actor", "address", "action", "target", "area", "outcome", "reason", "command", "state")
#: What spreadsheets take for a formula; a name or address from outside must not become one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

LIST_EXAMPLES = examples(
    "village audit list",
    "village audit list --action door. --area 441900003000 --since 7d",
    "village audit list --outcome refused --actor li",
    "village audit list --since 2026-11-01 --until 2026-12-01 --limit 100000 --csv > november.csv",
)
VERIFY_EXAMPLES = examples(
    "village audit verify",
    "village audit verify --key 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    f"village audit verify --seal 1500:{'5e' * 32}",
    "village audit verify --seals /mnt/elsewhere/village-collector.log",
)


@answering
def audit_list(
    ctx: typer.Context,
    since: Annotated[str | None, typer.Option("--since", metavar="24h|7d|ISO", help="Not before. 起始时间。")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="24h|7d|ISO", help="Before. 截止时间。")] = None,
    actor: Annotated[str | None, typer.Option("--actor", metavar="PERSON", help="Only this person. 仅此人。")] = None,
    action: Annotated[
        str | None,
        typer.Option("--action", help="Only this, as door.unlock; door. for all at doors. 仅此操作；door. 为一类。"),
    ] = None,
    area: AreaOption = None,
    outcome: Annotated[
        Literal["allowed", "refused", "failed"] | None, typer.Option("--outcome", help="Only these. 仅此结果。")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="AREA|AGENT|AGENT/DEVICE", help="Only this target. 仅此目标。")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many. 最多条数。")] = 100,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, times in UTC. 输出 CSV（UTC 时间）。")] = False,
) -> None:
    """List who did what in the areas that you administer, the newest last.

    列出所管理区域内的操作记录，最新的在最后。

    With --json: one document per 1,000 entries, the newest first. 与 --json 合用时每 1000 条一个文档，最新的在前。
    """
    if as_json and as_csv:
        raise Failure(
            Bilingual("--json and --csv exclude each other.", "--json 与 --csv 不能同时使用。"), exit_code=USAGE
        )
    now = datetime.now(UTC)
    query: dict[str, str | int | None] = {
        "since": rfc3339(parse_time(since, now)) if since else None,
        "until": rfc3339(parse_time(until, now)) if until else None,
        "actor": actor,
        "action": action,
        "area": area,
        "outcome": outcome,
        "target": target,
    }
    language = settings_of(ctx).language
    found: list[dict[str, Any]] = []
    with connect(ctx) as client:
        for answer in _pages(client, query, limit):
            if as_json:
                emit(answer.text)
            else:
                found.extend(rows(answer.document, "entries"))
    if as_csv:
        _print_csv(found[::-1])
    elif not as_json:
        show(_table(found[::-1], language), language)


@answering
def audit_verify(
    ctx: typer.Context,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="The public key of the seals that you noted. 事先记录的签章公钥。"),
    ] = None,
    seal: Annotated[
        list[str] | None,
        typer.Option("--seal", metavar="NUMBER:HASH", help="A seal that you kept. 事先保存的签章（可重复）。"),
    ] = None,
    seals: Annotated[
        Path | None,
        typer.Option(
            "--seals",
            metavar="FILE",
            help="The collector's log, kept elsewhere; - is stdin. 采集端日志；- 为标准输入。",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finding as JSON. 输出 JSON。")] = False,
) -> None:
    """Look for entries that were changed, removed, inserted or moved, and for a cut end. Exit code 0: whole; 2: it is not.

    检查审计日志是否被更改、删除、插入、移动或截断。退出码 0：完整；2：不完整。

    Whoever rules the whole server can only be found by what is kept elsewhere: --key and --seals. 若整台服务器被控制，只能借助另存的公钥和签章发现。
    """
    from village_cli.verification import kept_seals, pinned_key, verify

    language = settings_of(ctx).language
    kept = kept_seals(seal or [], seals)
    pinned = pinned_key(key) if key else None
    with connect(ctx) as client:
        whole = verify(client, pinned, kept, language, as_json=as_json)
    if not whole:
        raise typer.Exit(2)


def _pages(client: Client, query: Mapping[str, str | int | None], limit: int) -> Iterator[Answer]:
    before: int | None = None
    while limit > 0:
        size = min(limit, _PAGE)
        answer = client.get("/audit", SCHEMA, **query, before=before, limit=size)
        found = rows(answer.document, "entries")
        yield answer
        last = found[-1].get("number") if found else None
        if len(found) < size or not isinstance(last, int):
            return
        before, limit = last, limit - size


def _table(found: Sequence[Mapping[str, Any]], language: Language) -> Table:
    headers = ("number", "time", "actor", "action", "target", "area", "outcome", "result", "reason", "address")
    return Table(headers, [_row(entry, language) for entry in found])


def _row(entry: Mapping[str, Any], language: Language) -> list[Cell | str]:
    return [
        text(entry, "number"),
        local_text(entry.get("time")),
        Cell(text(entry, "actor") or word("nobody_known", language), "bold"),
        text(entry, "action"),
        text(entry, "target"),
        text(entry, "area"),
        named(text(entry, "outcome"), language),
        _result(part(entry, "result"), language),
        told(text(entry, "reason"), language),
        text(entry, "address"),
    ]


def _result(result: Mapping[str, Any], language: Language) -> Cell | str:
    if not result:
        return ""
    outcomes = {key: value for key, value in part(result, "outcomes").items() if isinstance(value, int)}
    bad = {key: value for key, value in outcomes.items() if key != "done"}
    state = text(result, "state")
    done = outcomes.get("done", 0) if outcomes else text(result, "final") or "0"
    words = [f"{word(state, language)} {done}/{text(result, 'expected')}"]
    words.extend(f"{word(key, language)} {value}" for key, value in sorted(bad.items()))
    return Cell(word("comma", language).join(words), "bold red" if {"failed", "refused"} & bad.keys() else "")


def _print_csv(found: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for entry in found:
        state = text(part(entry, "result"), "state")
        writer.writerow([_harmless(text(entry, name)) for name in _COLUMNS[:-1]] + [state])


def _harmless(value: str) -> str:
    from village_cli.safety import safe

    return safe(f"'{value}" if value.startswith(_FORMULA) else value)
