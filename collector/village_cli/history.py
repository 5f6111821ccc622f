"""`village history`: the past of one field, as a plot, as CSV or as JSON."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from village_cli.devices import readings_table
from village_cli.documents import number, plain, rows, text
from village_cli.failures import USAGE, Failure, answering
from village_cli.options import AnyDeviceArgument, JsonOption, connect, examples, settings_of
from village_cli.safety import safe
from village_cli.tables import emit, say, show
from village_cli.target import Target, parse_any_device
from village_cli.text import word
from village_cli.times import local, parse_time, read_time, rfc3339
from village_wire.language import Bilingual, Language

if TYPE_CHECKING:
    from village_cli.client import Client

EXAMPLES = examples(
    "village history gate-1/host",
    "village history gate-1/host temperature_c --since 7d",
    "village history gate-1 outbox_hours",
    "village history gate-1/host cpu_percent --since 2026-11-24T08:00 --csv",
    "village history gate-1/power value --kind register --json",
)


@answering
def history(
    ctx: typer.Context,
    device: AnyDeviceArgument,
    field: Annotated[
        str | None, typer.Argument(metavar="[FIELD]", help="Without it: list the fields. 不写则列出字段。")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Where several kinds have the field. 多个类型有此字段时指定。")
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="24h|7d|ISO", help="Not before. 起始时间。")] = "24h",
    until: Annotated[str | None, typer.Option("--until", metavar="24h|7d|ISO", help="Before. 截止时间。")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="More samples are thinned to so many. 超出则抽样。")
    ] = 500,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Time (UTC) and value as CSV. 输出 CSV。")] = False,
) -> None:
    """Plot the history of a field in the terminal.

    在终端绘制某字段的历史曲线。

    Without FIELD: list the device's fields and plot the first numeric one. 不写字段：列出字段并绘制第一个数值字段。
    """
    target = parse_any_device(device)
    language = settings_of(ctx).language
    if as_json and as_csv:
        raise Failure(
            Bilingual("--json and --csv exclude each other.", "--json 与 --csv 不能同时使用。"), exit_code=USAGE
        )
    now = datetime.now(UTC)
    start, end = parse_time(since, now), parse_time(until, now) if until else now
    if start >= end:
        raise Failure(
            Bilingual("--since is not before --until.", "--since 不早于 --until。"),
            Bilingual("Choose an earlier --since.", "请选择更早的 --since。"),
            exit_code=USAGE,
        )
    with connect(ctx) as client:
        if field is None:
            kind, field = _first_field(client, target, kind, language, quiet=as_json or as_csv)
        answer = client.get(
            f"/devices/{target.agent}/{target.device}/history",
            "village.history/1",
            kind=kind,
            field=field,
            start=rfc3339(start),
            end=rfc3339(end),
            limit=limit,
        )
    if as_json:
        emit(answer.text)
    elif as_csv:
        _print_csv(answer.document)
    else:
        _print_plot(answer.document, target, start, end, language)


def read_samples(document: Mapping[str, Any]) -> list[tuple[datetime, float | bool]]:
    """Return the samples of a `village.history/1` that have a time and a finite value."""
    found = document.get("samples")
    read = []
    for pair in found if isinstance(found, list) else []:
        if not isinstance(pair, list) or len(pair) != 2:
            continue
        moment, value = read_time(pair[0]), pair[1] if isinstance(pair[1], bool) else number(pair[1])
        # The years at the edges have moments without a local time.
        if moment is not None and value is not None and MINYEAR < moment.year < MAXYEAR:
            read.append((moment, value))
    return read


def _first_field(
    client: Client, target: Target, kind: str | None, language: Language, *, quiet: bool
) -> tuple[str, str]:
    answer = client.get(f"/devices/{target.agent}/{target.device}", "village.device/1")
    if not quiet:
        show(readings_table(answer.document), language)
        say()
    readings = [row for row in rows(answer.document, "readings") if kind in {None, text(row, "kind")}]
    numeric = [row for row in readings if not isinstance(row.get("value"), bool)]
    for row in numeric or readings:
        return text(row, "kind"), text(row, "field")
    raise Failure(
        Bilingual(f"{target} has no readings yet.", f"{target} 还没有读数。"),
        Bilingual(
            f"See its condition with: village device show {target}", f"请查看其状态：village device show {target}"
        ),
    )


def _print_csv(document: Mapping[str, Any]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["time", safe(text(document, "field"))])
    for moment, value in read_samples(document):
        writer.writerow([rfc3339(moment), ("false", "true")[value] if isinstance(value, bool) else repr(value)])


def _print_plot(
    document: Mapping[str, Any], target: Target, start: datetime, end: datetime, language: Language
) -> None:
    from village_cli.plot import draw, terminal_size

    name = safe(f"{text(document, 'kind')}.{text(document, 'field')}")
    samples = read_samples(document)
    if not samples:
        say(word("no_samples", language).format(field=name, start=local(start), end=local(end)))
        return
    sys.stdout.write(draw(samples, f"{target} {name}", terminal_size()) + "\n")
    values = [float(value) for _, value in samples]
    say(
        word("statistics", language).format(
            count=len(values),
            least=plain(min(values)),
            mean=plain(math.fsum(values) / len(values)),
            most=plain(max(values)),
            last=plain(samples[-1][1]),
            time=local(samples[-1][0]),
        )
    )
