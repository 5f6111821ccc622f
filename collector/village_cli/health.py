"""`village health`: which devices are unwell, since when, why, and what to do."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from village_cli.documents import label, number, part, plain, rows, text
from village_cli.failures import UNREACHABLE, USAGE, Failure, answering
from village_cli.options import AgentOption, AreaOption, JsonOption, connect, examples, settings_of
from village_cli.reasons import told
from village_cli.tables import STYLES, Cell, Table, console, emit, named, note, on_terminal, render, say, show
from village_cli.text import word
from village_cli.times import duration, local, read_time
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Client

#: Worst first: the order of rows, and which status decides the exit code.
SEVERITY = ("down", "degraded", "unknown", "ok")
EXIT_CODES = {"ok": 0, "degraded": 1, "down": 2, "unknown": 3}
NAGIOS_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
SCHEMA = "village.health/1"
#: Rows on a screen, unless more are unwell or a status was asked for.
MAX_ON_SCREEN = 100
#: An outbox that bridges more is told in days.
DAYS_FROM_HOURS = 72
#: Devices that a Nagios line names before it says how many more there are.
MAX_NAMED = 5

Query = Mapping[str, str | list[str] | None]

EXAMPLES = examples(
    "village health",
    "village health --area 441900003000 --status down --status degraded",
    "village health --watch",
    "village health --nagios",
    "village --lang zh health",
)


class Status(StrEnum):
    """What `--status` takes."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


StatusOption = Annotated[
    list[Status] | None,
    typer.Option("--status", help="Only devices of this status; may be repeated. 仅此状态的设备，可重复。"),
]


class NagiosCommand(TyperCommand):
    """A command whose wrong use is UNKNOWN (3) to a Nagios server, not CRITICAL (2)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class; a usage error gets exit code 3."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == USAGE:
                error.exit_code = UNREACHABLE  # type: ignore[attr-defined]
            raise


@answering
def health(
    ctx: typer.Context,
    area: AreaOption = None,
    agent: AgentOption = None,
    status: StatusOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C. 持续刷新，按 Ctrl-C 结束。")] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.2, max=3600, metavar="SECONDS", help="Pace of --watch. 刷新间隔（秒）。")
    ] = 5.0,
    as_json: JsonOption = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line with performance data. 输出一行 Nagios 格式。")
    ] = False,
) -> None:
    """Show which devices are unwell, since when, why and what to do.

    显示设备健康状况：哪台异常、从何时起、依据和处理方法。

    Exit code (Nagios): 0 all ok, 1 some degraded, 2 some down, 3 unknown or no collector.
    退出码：0 正常，1 降级，2 故障，3 未知或采集端无应答。
    """
    language = settings_of(ctx).language
    query: Query = {"area": area, "agent": agent, "status": [wanted.value for wanted in status or ()] or None}
    if watch and (as_json or nagios):
        raise Failure(
            Bilingual("--watch is for people.", "--watch 供人查看。"),
            Bilingual("Leave --json and --nagios out.", "请去掉 --json 和 --nagios。"),
            exit_code=UNREACHABLE,
        )
    try:
        if watch:
            raise typer.Exit(_watch(ctx, query, every))
        with connect(ctx) as client:
            answer = client.get("/health", SCHEMA, **query)
    except Failure as failure:
        failure.exit_code = UNREACHABLE
        if not nagios:
            raise
        say(f"VILLAGE UNKNOWN - {failure.sentence(language).replace('|', '/')}")
        raise typer.Exit(UNREACHABLE) from None
    if as_json:
        emit(answer.text)
    elif nagios:
        say(nagios_line(answer.document, language, empty_is_ok=bool(status)))
    else:
        _show(answer.document, language, filtered=bool(status))
    raise typer.Exit(exit_code(answer.document, empty_is_ok=bool(status)))


def exit_code(document: Mapping[str, Any], *, empty_is_ok: bool = False) -> int:
    """Return the Nagios code of the worst status; no device at all is unknown, unless a status was asked for."""
    found = set(_counts(document))
    own = text(part(document, "collector"), "status")
    if not found and not empty_is_ok:
        found.add("unknown")
    worst = next((status for status in SEVERITY if status in found or status == own), "ok")
    return EXIT_CODES[worst]


def nagios_line(document: Mapping[str, Any], language: Language, *, empty_is_ok: bool = False) -> str:
    """Return `VILLAGE WARNING - 1 degraded, 12 ok: gate-1/reader: why | ok=12;;;0 …`."""
    code = exit_code(document, empty_is_ok=empty_is_ok)
    counts = _counts(document)
    counted = ", ".join(f"{counts[status]} {word(status, language)}" for status in SEVERITY if counts[status])
    unwell = [row for row in _sorted(document) if text(row, "status") != "ok"]
    own = part(document, "collector")
    names = [f"{label(row)}: {told(text(row, 'evidence'), language)}" for row in unwell[:MAX_NAMED]]
    if len(unwell) > MAX_NAMED:
        names.append(f"+{len(unwell) - MAX_NAMED}")
    if text(own, "status") not in {"", "ok"}:
        names.insert(0, f"{word('collector', language)}: {told(text(own, 'evidence'), language)}")
    line = counted or word("none_of_status" if empty_is_ok else "nothing_seen", language)
    if names:
        line += f" ({'; '.join(names)})"
    data = " ".join(f"{status}={counts[status]};;;0" for status in reversed(SEVERITY))
    return f"VILLAGE {NAGIOS_WORDS[code]} - {line.replace('|', '/')} | {data}"


def health_table(document: Mapping[str, Any], language: Language, most: int | None = None) -> Table:
    """Return one row per device, the worst first, at most `most`; the collector's own row comes first when it is unwell."""
    now = read_time(document.get("generated")) or datetime.now(UTC)
    listed = _sorted(document)
    own = part(document, "collector")
    if text(own, "status") not in {"", "ok"}:
        listed.insert(0, {**own, "agent": word("collector", language)})
    return Table(
        ("device", "name", "status", "since", "evidence", "advice"),
        [
            [
                Cell(label(row), "bold"),
                text(row, "name"),
                named(text(row, "status"), language),
                since(row, now, language),
                word("semicolon", language).join(
                    filter(None, (told(text(row, "evidence"), language), buffer(row, language)))
                ),
                text(part(row, "advice"), language),
            ]
            for row in listed[:most]
        ],
    )


def since(row: Mapping[str, Any], now: datetime, language: Language) -> str:
    """Return local time and how long ago by the collector's clock: `2026-11-24 08:30:00 +08:00 (2 h 5 min)`."""
    moment = read_time(row.get("since"))
    return "-" if moment is None else f"{local(moment)} ({duration(now - moment, language)})"


def buffer(row: Mapping[str, Any], language: Language) -> str:
    """Return an agent's buffer: `buffer for 312 h, 1204 waiting since 2026-11-24 08:30:00 +08:00`; empty where none is known."""
    known = part(row, "buffer")
    words = []
    hours = number(known.get("hours"))
    if hours is not None:
        days = hours >= DAYS_FROM_HOURS
        amount = plain(round(hours / 24) if days else round(hours, 1))
        words.append(word("buffer_days" if days else "buffer_hours", language).format(number=amount))
    if known.get("waiting"):
        begun = read_time(known.get("waiting_since"))
        sentence = word("buffer_waiting" if begun is None else "buffer_waiting_since", language)
        words.append(sentence.format(number=plain(known["waiting"]), time="" if begun is None else local(begun)))
    return word("comma", language).join(words)


def summary(document: Mapping[str, Any], language: Language, *, filtered: bool = False) -> str:
    """Return how many devices have which status."""
    counts = _counts(document)
    if not counts:
        return word("none_of_status" if filtered else "nothing_seen", language)
    counted = word("comma", language).join(
        word("count", language).format(number=counts[status], status=word(status, language))
        for status in SEVERITY
        if counts[status]
    )
    return word("summary", language).format(total=counts.total(), counts=counted)


def _show(document: Mapping[str, Any], language: Language, *, filtered: bool) -> None:
    # On a screen, a thousand devices that are well would push away those that are not.
    total = _counts(document).total()
    unwell = total - _counts(document)["ok"]
    short = on_terminal() and not filtered and total > MAX_ON_SCREEN
    most = max(unwell, MAX_ON_SCREEN) if short else None
    show(health_table(document, language, most), language)
    if most is not None and most < total:
        say(word("left_out", language).format(number=total - most))
    say(summary(document, language, filtered=filtered))


def _counts(document: Mapping[str, Any]) -> Counter[str]:
    known = (text(row, "status") for row in rows(document, "devices"))
    return Counter(status if status in SEVERITY else "unknown" for status in known)


def _sorted(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    def key(row: Mapping[str, Any]) -> tuple[int, str, str, str]:
        status = text(row, "status")
        rank = SEVERITY.index(status) if status in SEVERITY else SEVERITY.index("unknown")
        return rank, text(row, "area"), text(row, "agent"), text(row, "device")

    return sorted(rows(document, "devices"), key=key)


def _watch(ctx: typer.Context, query: Query, every: float) -> int:
    # Refresh until Ctrl-C and return the code of the last answer; a collector that goes away is told and waited for.
    language = settings_of(ctx).language
    filtered = query["status"] is not None
    # A supervisor that ends us gets the cursor of the terminal back, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with connect(ctx) as client:
        document = client.get("/health", SCHEMA, **query).document
        if on_terminal():
            return _watch_live(client, document, query, every, language)
        lost: Failure | None = None
        try:
            while True:
                if lost:
                    note(word("lost", language).format(reason=lost.sentence(language)))
                else:
                    say(word("as_of", language).format(time=local(read_time(document.get("generated")))))
                    _show(document, language, filtered=filtered)
                    say()
                    sys.stdout.flush()
                time.sleep(every)
                document, lost = _refresh(client, document, query)
        except KeyboardInterrupt:
            return UNREACHABLE if lost else exit_code(document, empty_is_ok=filtered)


def _watch_live(client: Client, document: dict[str, Any], query: Query, every: float, language: Language) -> int:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    filtered = query["status"] is not None
    lost: Failure | None = None
    with Live(console=console(), auto_refresh=False, transient=False) as live:
        try:
            while True:
                lines = [
                    Text(word("as_of", language).format(time=local(read_time(document.get("generated")))), style="dim"),
                    render(health_table(document, language, live.console.height), language, live.console.width),
                    Text(summary(document, language, filtered=filtered)),
                ]
                if lost:
                    away = word("lost", language).format(reason=lost.sentence(language))
                    lines.append(Text(away, style=STYLES["down"]))
                live.update(Group(*lines), refresh=True)
                time.sleep(every)
                document, lost = _refresh(client, document, query)
        except KeyboardInterrupt:
            return UNREACHABLE if lost else exit_code(document, empty_is_ok=filtered)


def _refresh(client: Client, document: dict[str, Any], query: Query) -> tuple[dict[str, Any], Failure | None]:
    try:
        return client.get("/health", SCHEMA, **query).document, None
    except Failure as failure:
        # A session that ended does not come back by itself.
        if failure.status == HTTPStatus.UNAUTHORIZED:
            raise
        return document, failure
