"""`village broadcast cap` and `alerts`: alerts of the Common Alerting Protocol, and how many loudspeakers said them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.broadcast_view import following, sentence
from village_cli.broadcast_watch import HEARD, NOWHERE, OPEN, PARTLY, View, broadcast_id, watch
from village_cli.broadcast_watch import SCHEMA as BROADCAST_SCHEMA
from village_cli.documents import number, part, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import JsonOption, connect, examples, settings_of
from village_cli.reasons import told
from village_cli.sending import goes_on_without_us
from village_cli.tables import Cell, Table, emit, say, show
from village_cli.text import word
from village_cli.times import local_text
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Answer, Client

SCHEMA = "village.alert/1"
#: As the collector takes it.
MAX_BYTES = 8 * 1024 * 1024

CAP_EXAMPLES = examples(
    "village broadcast cap rainstorm.xml --dry-run",
    "village broadcast cap rainstorm.xml --coverage 90",
    "village broadcast cap - --no-wait < alert.xml",
)
ALERTS_EXAMPLES = examples(
    "village broadcast alerts", "village broadcast alerts 019a5f3e-7c00-7abc-8def-0123456789ab --json"
)


@answering
def broadcast_cap(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A signed alert (CAP 1.2, XML); - is standard input. 已签名的预警文件。"),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be aired, and air nothing. 试运行，不播出。")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for receipts. 等待回执。")] = True,
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage", min=0, max=100, help="So many percent heard are enough for exit code 0. 覆盖率要求。"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring an alert: its signature is verified, what it says is aired in its areas, and what was heard is told.

    提交预警：校验签名后在其区域内播出，并报告实际播放情况。

    Exit code: 0 all were heard (or it has nothing to say), 1 some, 2 none or refused, 3 not known yet.
    退出码：0 全部播放（或本无须播出），1 部分，2 均未播放或被拒绝，3 未定。
    """
    from village_cli.client import Problem

    language = settings_of(ctx).language
    content = _read(file)
    with connect(ctx) as client:
        try:
            answer = client.post_file("/cap", SCHEMA, content, dry_run="true" if dry_run else None)
        except Problem as problem:
            # Refused as a whole: nobody will hear it.
            problem.exit_code = NOWHERE
            raise
        if not as_json:
            _tell(answer.document, language, known=answer.document.get("new") is False)
        views = _followed(client, answer, language, as_json=as_json) if wait and not dry_run else []
        if as_json:
            final = answer if not views else client.get(f"/cap/alerts/{_identity(answer)}", SCHEMA)
            emit(final.text)
    if dry_run or not wait:
        raise typer.Exit(HEARD if rows(answer.document, "broadcasts") or _says_nothing(answer.document) else NOWHERE)
    if not as_json:
        for view in views:
            say(sentence(view, language))
    raise typer.Exit(_exit_code(answer.document, views, coverage))


@answering
def broadcast_alerts(
    ctx: typer.Context,
    identity: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One alert with its coverage. 单个预警及覆盖情况。")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many. 最多条数。")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the latest alerts with what was heard of them, or show one.

    列出最近的预警及覆盖率，或显示其中一个。
    """
    language = settings_of(ctx).language
    with connect(ctx) as client:
        if identity is not None:
            answer = client.get(f"/cap/alerts/{broadcast_id(identity)}", SCHEMA)
        else:
            answer = client.get("/cap/alerts", "village.alerts/1", limit=limit)
    if as_json:
        emit(answer.text)
    elif identity is not None:
        _tell(answer.document, language)
    else:
        show(_list(rows(answer.document, "alerts"), language), language)


def _read(file: Path) -> bytes:
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(
            Bilingual(f"{file} can't be read: {error.strerror}.", f"无法读取 {file}：{error.strerror}。"),
            exit_code=USAGE,
            reason=error.strerror or "",
        ) from None
    if len(content) > MAX_BYTES:
        raise Failure(
            Bilingual(f"{file} is longer than {MAX_BYTES} bytes.", f"{file} 超过 {MAX_BYTES} 字节。"), exit_code=USAGE
        )
    return content


def _tell(document: dict[str, Any], language: Language, *, known: bool = False) -> None:
    names = ("identifier", "sender", "signer", "feed")
    say(word("alert_signed", language).format(**{name: text(document, name) for name in names}))
    if document.get("dry_run"):
        say(word("alert_dry", language))
    elif known:
        say(word("alert_known", language))
    if document.get("replaced_by"):
        say(word("alert_replaced", language))
    found = rows(document, "broadcasts")
    if found:
        show(_broadcasts(found, language), language)
    areas = [row for one in found for row in rows(one, "coverage")]
    if areas:
        columns = ("expected", "heard", "failed", "unknown")
        table = [[text(row, "area"), *(text(row, name) for name in columns), _percent(row)] for row in areas]
        show(Table(("area", "expected", "heard", "column_failed", "column_unknown", "coverage"), table), language)
    lacking = [
        [_part_of(row), word(f"alert_{text(row, 'code')}", language), told(text(row, "reason"), language)]
        for row in rows(document, "not_aired")
    ]
    lacking += [
        [_part_of(row), word("alert_unmapped", language), _place(row, language)] for row in rows(document, "unmapped")
    ]
    if text(document, "status") == "System":
        say(word("alert_heartbeat", language))
    elif lacking:
        show(Table(("part", "state", "reason"), lacking), language)
    elif not found:
        say(word("alert_nothing", language))


def _broadcasts(found: list[dict[str, Any]], language: Language) -> Table:
    table: list[list[Cell | str]] = []
    for row in found:
        state = "taken" if row.get("taken_back") else text(row, "state")
        problem = told(text(row, "problem"), language)
        areas = row.get("areas")
        named = [str(area) for area in areas] if isinstance(areas, list) else []
        table.append(
            [
                _part_of(row),
                word(f"class_{text(row, 'rank')}", language),
                word("comma", language).join(named[:5]) + ("…" if len(named) > 5 else ""),
                text(row, "text"),
                local_text(row.get("end")),
                word(f"alert_{state}", language) + (f": {problem}" if problem else ""),
                text(row, "broadcast"),
            ]
        )
    return Table(("part", "class", "target", "content", "until", "state", "id"), table)


def _list(found: list[dict[str, Any]], language: Language) -> Table:
    table: list[list[Cell | str]] = []
    for row in found:
        broadcasts = rows(row, "broadcasts")
        counts = [part(one, "counts") for one in broadcasts]
        heard, expected = (sum(int(number(one.get(name)) or 0) for one in counts) for name in ("heard", "expected"))
        infos = rows(row, "infos")
        headline = text(infos[0], "headline") or text(infos[0], "event") if infos else ""
        state = "taken" if row.get("replaced_by") else (text(broadcasts[0], "state") if broadcasts else "nothing")
        table.append(
            [
                local_text(row.get("received")),
                text(row, "feed"),
                " ".join(filter(None, (text(row, "status"), text(row, "message_type")))),
                headline if len(headline) <= 24 else f"{headline[:23]}…",
                word(f"alert_{state}", language),
                f"{heard}/{expected}" if expected else "",
                text(row, "id"),
            ]
        )
    return Table(("received", "sender", "kind", "content", "state", "heard", "id"), table)


def _followed(client: Client, answer: Answer, language: Language, *, as_json: bool) -> list[View]:
    """Watch all broadcasts that are aired and begin at once, one after the other; return how they stand then."""
    views = []
    look = f"village broadcast alerts {_identity(answer)}"
    with goes_on_without_us("broadcast_goes_on", look, language):
        for one in rows(answer.document, "broadcasts"):
            if one.get("state") != "aired" or one.get("taken_back"):
                continue
            first = client.get(f"/broadcasts/{broadcast_id(text(one, 'broadcast'))}", BROADCAST_SCHEMA)
            if one.get("start"):
                views.append(View(first.document))
            elif as_json:
                views.append(View(watch(client, first, lambda _: None).document))
            else:
                with following(language) as changed:
                    views.append(View(watch(client, first, changed).document))
    return views


def _exit_code(document: dict[str, Any], views: list[View], coverage: float | None) -> int:
    if not views:
        planned = any(row.get("state") == "planned" for row in rows(document, "broadcasts"))
        return OPEN if planned else (HEARD if _says_nothing(document) else NOWHERE)
    codes = {view.exit_code(coverage) for view in views}
    if OPEN in codes:
        return OPEN
    return codes.pop() if len(codes) == 1 else PARTLY


def _says_nothing(document: dict[str, Any]) -> bool:
    return text(document, "status") == "System" or text(document, "message_type") == "Cancel"


def _identity(answer: Answer) -> str:
    return broadcast_id(text(answer.document, "id"))


def _part_of(row: dict[str, Any]) -> str:
    return text(row, "info") if row.get("info") else ""


def _place(row: dict[str, Any], language: Language) -> str:
    where = " ".join(filter(None, (text(row, "place"), text(row, "geocode"))))
    return f"{where}: {told(text(row, 'reason'), language)}"


def _percent(row: dict[str, Any]) -> str:
    return f"{number(row.get('coverage')) or 0.0:g} %"
